"""The motion gate: appearance is displayed in full, and propagated as far as motion confirms it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimevid.fusion.motion_gate import propagated_log_odds, with_log_odds
from tests.slimevid.fusion.motion_cases import first_step, set_motion
from tests.slimevid.sessions import ConstantRefiner, unfiltered_session


@given(st.integers(2, 5), st.floats(-8, 8), st.integers(0, 2**32 - 1))
def test_added_odds_keep_part_shares(count, added, seed):
    """Added log-odds raise the foreground by their amount, and parts keep their shares."""
    soft = np.random.default_rng(seed).dirichlet(np.ones(count), (3, 4)).transpose(2, 0, 1).astype(np.float32)
    soft = (soft + 1e-3) / (soft + 1e-3).sum(0)
    found = with_log_odds(soft, np.full((3, 4), added, np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    before, after = (np.log(labels[1:].sum(0) / labels[0]) for labels in (soft, found))
    np.testing.assert_allclose(after, before + added, atol=1e-3)
    np.testing.assert_allclose(found[1:] / found[1:].sum(0), soft[1:] / soft[1:].sum(0), atol=1e-5)


@given(st.floats(-6, 6, width=32), st.floats(-6, 6, width=32), st.floats(0, 3, width=32))
def test_smaller_of_two_cues_propagated(looks, motion, feedback):
    """The smaller of appearance and motion is propagated."""
    found = propagated_log_odds(np.full((1, 1), looks, np.float32), np.full((1, 1), motion, np.float32), feedback)
    expected = min(looks, -motion * feedback) if looks > 0 and motion < 0 else 0.0
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_without_motion_nothing_propagated():
    """Without motion nothing of the appearance is propagated."""
    assert not propagated_log_odds(np.ones((2, 3), np.float32), None, 1.0).any()


@pytest.mark.parametrize(
    ("feedback", "motion", "completion", "carried"),
    [(1.0, -3.0, 4.0, 2.0), (1.0, -1.5, 4.0, 1.5), (0.5, -3.0, 4.0, 1.5), (1.0, -3.0, 0.5, 0.5), (1.0, 3.0, 4.0, 0.0)],
)
def test_appearance_confirmed_by_motion_propagated(tiny, disc, monkeypatch, feedback, motion, completion, carried):
    """Appearance that motion confirms is propagated."""
    set_motion(monkeypatch, motion)
    fusion = {"motion_gate": feedback, "refinement_limit": completion, "color_weight": 0.0}
    with_it, without = (first_step(tiny, disc, ConstantRefiner(value), **fusion)[0] for value in (2.0, 0.0))
    changed = np.abs(with_it - without).max(0) > 1e-6
    assert changed.any() == bool(carried)
    odds = np.full(without.shape[1:], carried, np.float32)
    np.testing.assert_allclose(with_it[:, changed], with_log_odds(without, odds)[:, changed], atol=1e-5)


def test_motion_alone_adds_no_foreground(tiny, disc, monkeypatch):
    """Motion alone adds nothing to the foreground."""
    found = []
    for odds in (0.0, -4.0):
        set_motion(monkeypatch, odds)
        found.append(first_step(tiny, disc, ConstantRefiner(0.0), color_weight=0.0)[0])
    assert np.array_equal(*found)


def test_propagated_odds_not_displayed_twice(tiny, disc, monkeypatch):
    """Propagated log-odds are not displayed twice.

    Of the first frame the same is displayed, however much of it is propagated.
    """
    set_motion(monkeypatch, -2.0)
    (kept, alone), (fed, together) = (
        first_step(tiny, disc, ConstantRefiner(1.0), motion_gate=feedback) for feedback in (0.0, 1.0)
    )
    assert np.abs(kept - fed).max() > 0.05
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_colors_propagated_without_network(tiny, disc, monkeypatch):
    """Colour is propagated without a network, too."""
    found = []
    for feedback in (0.0, 1.0):
        set_motion(monkeypatch, -2.0)
        one = unfiltered_session(
            tiny, ConstantRefiner(0.0), refinement_limit=0.0, color_weight=1.0, motion_gate=feedback
        )
        one.add_reference(*disc(0))
        one.step(disc(1)[0])
        found.append(one.snapshot()["soft"][1].sum())
    assert found[1] > found[0] + 1
