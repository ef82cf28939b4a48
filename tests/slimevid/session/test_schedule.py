"""Passes with key frames, and frames between them."""

from __future__ import annotations

import numpy as np
import pytest

from slimevid.fusion import flow_evidence
from slimevid.motion.warp import reliability
from slimevid.session.passes import Pass
from tests.slimevid.sessions import session_of


def test_reliability_tolerance_scales_with_steps(slid, tiny, monkeypatch):
    """The tolerance of the flow's reliability is proportional to the number of steps."""
    clip, mask = slid
    seen = []

    def recorded(flow, back, maps, tolerance):
        seen.append(tolerance)
        return reliability(flow, back, maps, tolerance)

    monkeypatch.setattr(flow_evidence, "reliability", recorded)
    session = session_of(clip, mask, tiny, keyframe_interval=3)
    assert len(list(session.propagate(clip))) == 9
    assert seen == [3.0, 3.0, 2.0]


@pytest.mark.parametrize(
    "settings", [{"keyframe_interval": 2}, {"keyframe_interval": 3}, {"keyframe_interval": 3, "bidirectional_span": 6}]
)
@pytest.mark.parametrize("at", [0, 5])
def test_skipped_frames_as_accurate_as_keyframes(slid, tiny, settings, at):
    """Frames between key frames are labelled about as well as key frames."""
    clip, mask = slid
    session = session_of(clip, np.roll(mask, 4 * at, 1), tiny, at, **settings)
    results = list(session.propagate(clip))
    assert [r.frame.index for r in results] == [*reversed(range(at)), *range(at, 9)]
    for result in results:
        truth = np.roll(mask, 4 * result.frame.index, 1) > 0
        assert np.logical_and(result.labels > 0, truth).sum() > 0.8 * np.logical_or(result.labels > 0, truth).sum()


def test_only_key_frames_tracked(slid, tiny, monkeypatch):
    """Only key frames are labelled in full."""
    clip, mask = slid
    session = session_of(clip, mask, tiny, keyframe_interval=3)
    seen = []
    tracker = session._stream.tracker
    track = tracker.track
    monkeypatch.setattr(tracker, "track", lambda step: seen.append(step.features.frame.index) or track(step))
    assert len(list(session.propagate(clip))) == 9
    assert seen == [3, 6, 8]


def test_stepped_frames_ignore_keyframe_interval(slid, tiny):
    """Frames given one by one are all labelled in full."""
    clip, mask = slid
    keyed, all_of_them = (session_of(clip, mask, tiny, keyframe_interval=n) for n in (3, 1))
    for frame in clip.read(1, 6):
        assert np.array_equal(keyed.step(frame).labels, all_of_them.step(frame).labels)


def test_traits_without_keyframes_label_all(slid, tiny):
    """A propagator whose traits have no key frames labels every frame."""
    clip, mask = slid
    found = [
        [r.labels for r in session_of(clip, mask, tiny, keyframe_interval=n, propagator="flow_warp").propagate(clip)]
        for n in (1, 3)
    ]
    assert all(np.array_equal(a, b) for a, b in zip(*found, strict=True))


@pytest.mark.parametrize(
    ("every", "span", "expected"), [(3, 0, [1, 1, 1, 2, 2, 2, 3, 3, 4]), (2, 5, [1, 1, 1, 1, 3, 3, 3, 3, 5])]
)
def test_snapshot_between_keyframes_is_earlier_one(slid, tiny, every, span, expected):
    """A snapshot between key frames is of the key frame before.

    In both directions it is of the key frame before the span, which is as many whole groups as fit.
    """
    clip, mask = slid
    session = session_of(clip, mask, tiny, keyframe_interval=every, bidirectional_span=span)
    assert [int(session.snapshot()["ordinal"]) for _ in session.propagate(clip)] == expected


@pytest.mark.parametrize("done", range(1, 9))
@pytest.mark.parametrize("span", [0, 6])
def test_restored_pass_continues(slid, tiny, done, span):
    """A pass continues from a restored snapshot with the same labels."""
    clip, mask = slid
    whole_run = session_of(clip, mask, tiny, keyframe_interval=3, bidirectional_span=span)
    results = whole_run.propagate(clip)
    expected, state = [], {}
    for number, result in enumerate(results, 1):
        expected.append(result.labels)
        if number == done:
            state = {name: array.copy() for name, array in whole_run.snapshot().items()}
    again = session_of(clip, mask, tiny, keyframe_interval=3, bidirectional_span=span)
    again.restore(state)
    one = Pass(0, range(9))
    found = [r.labels for r in again.run_pass(clip, one, done)]
    assert len(found) == 9 - done
    assert all(np.array_equal(a, b) for a, b in zip(found, expected[done:], strict=True))
