"""Frames assigned to references."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimevid.session.passes import Pass, ReferenceInterval, plan


@st.composite
def cases(draw):
    count = draw(st.integers(1, 60))
    start = draw(st.integers(0, count - 1))
    end = draw(st.integers(start + 1, count))
    frames = range(start, end, draw(st.integers(1, 7)))
    references = draw(st.sets(st.integers(0, count - 1), min_size=1, max_size=6))
    return sorted(references), frames


@given(cases())
def test_frames_assigned_to_nearest_reference(case):
    """Every frame is labelled once, from a nearest reference."""
    references, frames = case
    owners = [(i, one.reference) for gap in plan(references, frames) for one in gap.passes for i in one.frames]
    assert sorted(i for i, _ in owners) == list(frames)
    for i, owner in owners:
        assert abs(i - owner) == min(abs(i - r) for r in references)


@given(cases())
def test_passes_lead_away_within_interval(case):
    """Passes lead away from their reference within their interval."""
    references, frames = case
    for gap in plan(references, frames):
        for one in gap.passes:
            assert one.reference in (gap.left, gap.right)
            distances = [abs(i - one.reference) for i in one.frames]
            assert distances == sorted(distances)
            assert all((gap.left is None or gap.left <= i) and (gap.right is None or i < gap.right) for i in one.frames)


@given(cases(), st.integers(0, 59))
def test_added_reference_changes_own_interval(case, extra):
    """A further reference changes only the interval it falls into."""
    references, frames = case
    before, after = plan(references, frames), plan(sorted({*references, extra}), frames)
    changed = [gap for gap in before if gap not in after]
    if extra in references:
        assert not changed
    else:
        assert len(changed) == 1
        low, high = changed[0].left, changed[0].right
        assert low is None or low < extra
        assert high is None or extra < high


def test_two_references_meet_half_way():
    """Passes of two references meet half way."""
    assert plan([2, 7], range(10)) == [
        ReferenceInterval(None, 2, (Pass(2, range(1, -1, -1)),)),
        ReferenceInterval(2, 7, (Pass(2, range(2, 5)), Pass(7, range(6, 4, -1)))),
        ReferenceInterval(7, None, (Pass(7, range(7, 10)),)),
    ]


def test_plan_requires_reference():
    """A plan needs a reference."""
    with pytest.raises(ValueError, match="at least one reference"):
        plan([], range(3))
