"""Labels averaged over both directions, span by span."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimecore.errors import InputError
from slimecore.io.masks import MaskFile, make_parts
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.types import Annotation, Frame
from slimevid.config import RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.frame.search_region import SearchRegion, full_frame
from slimevid.frame.upsampling import upsample_to_frame
from slimevid.motion.composition import StepMotion
from slimevid.propagators import load_propagator
from slimevid.session.bidirectional import forward_and_back, reversed_steps
from slimevid.session.keyframes import KeyframeStep
from slimevid.session.segmenter import Segmenter
from tests.slimevid.sessions import uniform_flow

QUICK = LearnConfig(tokens=2, steps=5, views=ViewConfig(count=1))


class Counter:
    """Labels frame n with n going forward, and with 100 + n going back."""

    def track(self, step):
        return np.full((2, 1, 1), float(step.n), np.float32)

    def retrace(self, steps):
        for step in reversed(steps[:-1]):
            yield np.full((2, 1, 1), 100.0 + step.n, np.float32)


@given(st.integers(0, 30), st.integers(1, 12))
def test_span_averages_both_directions(count, span):
    """All labels of a span but the last are the mean of both directions."""
    steps = [SimpleNamespace(n=n) for n in range(count)]
    found = [(step.n, float(soft[0, 0, 0]), last) for step, soft, last in forward_and_back(steps, span, Counter())]
    ends = [n % span == span - 1 or n == count - 1 for n in range(count)]
    assert found == [(n, float(n if end else 50 + n), end) for n, end in enumerate(ends)]


def test_span_yielded_before_next_requested():
    """A span is yielded before frames of the next are requested."""
    asked = []

    def steps():
        for n in range(10):
            asked.append(n)
            yield SimpleNamespace(n=n)

    results = forward_and_back(steps(), 4, Counter())
    next(results)
    assert asked == [0, 1, 2, 3]


@pytest.fixture
def slid(clip_of_a_disc):
    return clip_of_a_disc(8, 5)


def dense_session(clip, mask, tiny, at=0, **settings):
    config = RunConfig(network_size=96, mask_size=96, learn=QUICK, **{"keyframe_interval": 1, **settings})
    config = replace(config, fusion=replace(config.fusion, appearance_interval=2))
    session, parts = Segmenter(config, tiny), make_parts(MaskFile(mask.astype(np.int32), {}))
    frame = next(clip.read(at, at + 1))
    session.add_reference(frame, Annotation(frame.rgb, parts.index(mask), parts))
    return session


@pytest.mark.parametrize("propagator", ["fused", "memory_only", "flow_warp"])
def test_labels_match_two_naive_passes(slid, tiny, propagator):
    """Labels match those of two naive passes.

    The naive implementation goes forward step by step, and back over features that know nothing of the way forward.
    """
    clip, mask = slid
    one = dense_session(clip, mask, tiny, propagator=propagator, bidirectional_span=4)
    found = {r.frame.index: one.soft for r in one.propagate(clip)}
    seen = []
    twin = dense_session(clip, mask, tiny, propagator=propagator)
    tracker, config, traits = twin._stream.tracker, twin.config, load_propagator(propagator)[0]
    walker = tracker._propagator
    twin.start(0)
    for span in ([1, 2, 3, 4], [5, 6, 7]):
        frames = dict(zip(span, clip.read(span[0], span[-1] + 1), strict=True))
        features, soft = {}, {}
        for i, frame in frames.items():
            features[i] = tracker.features(frame, i)
            soft[i] = tracker.track(KeyframeStep(features[i]))
            seen.append(features[i].region)
        here = walker.snapshot()
        for i in span[-2::-1]:
            back = walker.step(FrameFeatures(frames[i], config, tiny, i, features[i].region)).displayed
            soft[i] = (soft[i].astype(np.float16) + back) / 2
        walker.restore(here)
        for i, frame in frames.items():
            labels = soft[i].astype(np.float16).astype(np.float32)
            expected = upsample_to_frame(labels, features[i], filtered=traits.guided_filter)
            assert np.array_equal(found[i], full_frame(frame.size).paste(*expected)), i
    assert (len(set(seen)) > 1) == (propagator == "fused"), "windows must have moved on the way"


def test_forward_labels_are_propagated(slid, tiny):
    """Only the labels of the forward direction are propagated to the next span.

    The last bit may differ: the two sessions share the processor differently between their threads.
    """
    clip, mask = slid
    both = dense_session(clip, mask, tiny, bidirectional_span=7)
    assert len(list(both.propagate(clip))) == 8
    alone = dense_session(clip, mask, tiny)
    assert len(list(alone.propagate(clip))) == 8
    there, here = both.snapshot(), alone.snapshot()
    assert there.keys() == here.keys()
    for name in here:
        np.testing.assert_allclose(there[name], here[name], rtol=1e-4, atol=1e-5, err_msg=name)


def test_bidirectional_from_middle_reference(slid, tiny):
    """A reference in the middle of a clip labels both sides in spans."""
    clip, mask = slid
    session = dense_session(clip, np.roll(mask, 20, 1), tiny, at=4, bidirectional_span=3)
    results = list(session.propagate(clip))
    assert [r.frame.index for r in results] == [3, 2, 1, 0, 4, 5, 6, 7]
    for result in results:
        truth = np.roll(mask, 5 * result.frame.index, 1) > 0
        assert np.logical_and(result.labels > 0, truth).sum() > 0.7 * np.logical_or(result.labels > 0, truth).sum()


def test_snapshot_within_span_is_its_start(slid, tiny):
    """A snapshot within a span is of the span's start.

    Until the last frame of a span is yielded, no other state could repeat the rest of it.
    """
    clip, mask = slid
    session = dense_session(clip, mask, tiny, bidirectional_span=3)
    results = session.propagate(clip)
    ordinals = [int(session.snapshot()["ordinal"]) for _ in results]
    assert ordinals == [1, 1, 1, 4, 4, 4, 7, 8]


def test_broken_span_restarts(slid, tiny, monkeypatch):
    """A span that breaks off with an error is begun anew."""
    clip, mask = slid
    session = dense_session(clip, mask, tiny, bidirectional_span=3)
    read = type(clip).read

    def broken(self, start, stop, step=1):
        for frame in read(self, start, stop, step):
            if frame.index == 5:
                raise InputError("gone")
            yield frame

    seen = []
    with monkeypatch.context() as patch:
        patch.setattr(type(clip), "read", broken)
        with pytest.raises(InputError, match="gone"):
            seen.extend(r.frame.index for r in session.propagate(clip))
    assert seen == [0, 1, 2, 3]
    assert int(session.snapshot()["ordinal"]) == 4
    alone = dense_session(clip, mask, tiny)
    for frame in clip.read(1, 4):
        alone.step(frame)
    for frame in clip.read(4, 6):
        session.step(frame)
        alone.step(frame)
        np.testing.assert_allclose(session.soft, alone.soft, rtol=1e-4, atol=1e-5)  # the last bit may differ
    assert int(session.snapshot()["ordinal"]) == 6


def test_abandoned_pass_does_not_interfere(slid, tiny):
    """A pass that was abandoned does not change the session when it is closed later."""
    clip, mask = slid
    session = dense_session(clip, mask, tiny, bidirectional_span=3)
    left = session.propagate(clip)
    assert [next(left).frame.index for _ in range(3)] == [0, 1, 2]
    session.start(0)
    session.step(next(clip.read(1, 2)))
    assert int(session.snapshot()["ordinal"]) == 2
    left.close()
    assert int(session.snapshot()["ordinal"]) == 2


def test_drop_applies_to_next_yielded_frame(slid, tiny):
    """A part is dropped from the next yielded frame on.

    Frames farther on are labelled already, but not yielded.
    """
    clip, mask = slid
    session = dense_session(clip, mask, tiny, bidirectional_span=6)
    found = []
    for result in session.propagate(clip):
        found.append(bool(result.labels.any()))
        if result.frame.index == 2:
            session.drop(int(mask.max()))
    assert found == [True, True, True, False, False, False, False, False]


def test_stepped_frames_labelled_forward(slid, tiny):
    """Frames given one by one are labelled forward only."""
    clip, mask = slid
    frames = list(clip.read(1, 4))
    both, alone = (dense_session(clip, mask, tiny, bidirectional_span=n) for n in (2, 0))
    for frame in frames:
        assert np.array_equal(both.step(frame).labels, alone.step(frame).labels)


def test_reversed_steps_reverse_motion():
    """On the way back motion is reversed.

    Where search regions differ it is estimated anew through the same frames.
    """
    asked = []

    def flow(source, target):
        asked.append((int(source[0, 0, 0]), int(target[0, 0, 0])))
        return uniform_flow(0)

    config = RunConfig(flow_size=32, mask_size=32)
    narrow, wide = SearchRegion(0, 0, 32, 20, 1.0), full_frame((32, 40))

    def steps_narrow_from(first):
        features = {
            i: FrameFeatures(
                Frame(i, np.full((32, 40, 3), i, np.uint8), str(i)), config, None, i, narrow if i >= first else wide
            )
            for i in range(1, 8)
        }
        return [
            KeyframeStep(
                features[key],
                tuple(features[i] for i in between),
                StepMotion(uniform_flow(key), uniform_flow(-key), steps=1 + len(between)),
            )
            for key, between in ((2, [1]), (5, [3, 4]), (7, [6]))
        ]

    steps = steps_narrow_from(6)
    back = list(reversed_steps(steps, flow))
    assert [step.features for step in back] == [steps[1].features, steps[0].features]
    assert asked == [(6, 7), (7, 6), (5, 6), (6, 5)]
    assert [step.motion.steps for step in back] == [2, 3]
    assert back[1].motion.flow[0, 0, 0] == -5
    asked.clear()
    list(reversed_steps(steps_narrow_from(3)[:2], flow))
    assert asked == [(4, 5), (5, 4), (3, 4), (4, 3), (2, 3), (3, 2)]
