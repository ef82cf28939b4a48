"""Key frames are labelled in full; those between take their labels from both sides."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimecore.errors import ConfigError
from slimecore.io.masks import MaskFile, make_parts
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.types import Annotation, Frame
from slimevid.config import FusionConfig, RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.frame.region_planner import RegionPlanner
from slimevid.frame.search_region import SearchRegion, full_frame
from slimevid.fusion import flow_evidence
from slimevid.motion.composition import StepMotion, bidirectional_flow, compose_flows, step_motion
from slimevid.motion.warp import reliability, sampling_grid
from slimevid.propagators import fused
from slimevid.session.bidirectional import reversed_steps
from slimevid.session.keyframes import KeyframeStep, group_by_keyframe, interpolate_skipped
from slimevid.session.passes import Pass
from slimevid.session.segmenter import Segmenter
from slimevid.session.tracker import Tracker

QUICK = LearnConfig(tokens=2, steps=5, views=ViewConfig(count=1))


def shift(dx, dy=0.0, size=(32, 40)):
    """A flow that is the same everywhere."""
    return np.broadcast_to(np.array([dx, dy], np.float32), (*size, 2)).copy()


def plane(columns, size=(32, 40)):
    """Labels of a background and one part in some columns."""
    part = np.zeros(size, np.float32)
    part[:, columns] = 1
    return np.stack([1 - part, part])


def step_of(flows=(), skipped=None, **more):
    """Step to a key frame at the size of its flow. By default its flows say how many frames it skips."""
    frame, config = Frame(9, np.zeros((32, 40, 3), np.uint8), "9"), RunConfig(flow_size=32, mask_size=32)
    features = FrameFeatures(frame, config, None, 2, **more)
    between = len(flows) - 1 if skipped is None else skipped
    total = compose_flows(flows)
    motion = None if total is None else StepMotion(*total, tuple(flows), len(flows))
    return KeyframeStep(
        features, tuple(FrameFeatures(frame, config, None, 2, features.region) for _ in range(between)), motion
    )


@given(st.integers(0, 25), st.integers(1, 9), st.integers(1, 7))
def test_every_nth_and_last_frame_key(count, every, first):
    """Every n-th frame is a key frame, and so is the last."""
    made = []

    def make(frame, number):
        made.append(frame)
        return SimpleNamespace(frame=frame, number=number, config=None, region=full_frame((2, 2)))

    frames = [Frame(i, np.zeros((2, 2, 3), np.uint8), str(i)) for i in range(count)]
    steps = list(group_by_keyframe(frames, every, first, make))
    assert [s.features.number for s in steps] == list(range(first, first + len(steps)))
    assert [f.frame.index for s in steps for f in (*s.skipped, s.features)] == list(range(count))
    ends = [i for i in range(count) if i % every == every - 1 or i == count - 1]
    assert [f.index for f in made] == ends
    assert all(b.region == s.features.region for s in steps for b in s.skipped)
    assert all(s.motion is None for s in steps)


def test_key_frame_made_on_request():
    """A key frame is made when it is requested, because its search region is not known earlier."""
    made = []
    frames = [Frame(i, np.zeros((2, 2, 3), np.uint8), str(i)) for i in range(9)]
    steps = group_by_keyframe(
        frames, 3, 1, lambda f, n: made.append(n) or SimpleNamespace(config=None, region=full_frame((2, 2)), frame=f)
    )
    next(steps)
    assert made == [1]


def test_composed_flow_follows_steps():
    """A composed flow leads to where its steps lead in order.

    The naive implementation follows single pixels: the second step depends on where the first led.
    """
    rng = np.random.default_rng(0)
    size = (32, 40)
    smooth = [cv2.GaussianBlur(rng.normal(0, 12, (*size, 2)).astype(np.float32), (0, 0), 4) for _ in range(6)]
    steps = list(zip(smooth[:3], smooth[3:], strict=True))
    there, back = compose_flows(steps)

    def follow(x, y, flows):
        start = x, y
        for flow in flows:
            u, v = (
                cv2.remap(
                    np.ascontiguousarray(flow[..., k]),
                    np.full((1, 1), x, np.float32),
                    np.full((1, 1), y, np.float32),
                    cv2.INTER_LINEAR,
                    borderMode=cv2.BORDER_REPLICATE,
                )[0, 0]
                for k in (0, 1)
            )
            x, y = x + u, y + v
        return x - start[0], y - start[1]

    # The frames are 0, 1, 2, 3; a step holds the flow into the frame before and back.
    for y, x in ((10, 14), (12, 20), (8, 9)):
        assert np.allclose(there[y, x], follow(x, y, [steps[2][0], steps[1][0], steps[0][0]]), atol=0.2)
        assert np.allclose(back[y, x], follow(x, y, [steps[0][1], steps[1][1], steps[2][1]]), atol=0.2)
    assert compose_flows(steps[:1]) is steps[0]
    assert compose_flows([]) is None


@pytest.mark.parametrize("number", [1, 2])
def test_skipped_frame_follows_motion(number):
    """Labels of a frame between key frames lie where motion takes them.

    A part moves four columns a frame, over three frames from a key frame to the next.
    """
    step = step_of([(shift(-4), shift(4))] * 3)
    before, after = plane(slice(4, 10)), plane(slice(16, 22))
    found = list(interpolate_skipped([(step, after, True)], (before, step.features.region)))
    assert [flag for *_, flag in found] == [False, False, True]
    assert [features for features, *_ in found] == [*step.skipped, step.features]
    assert found[-1][1] is after
    labels = found[number - 1][1]
    assert np.allclose(labels.sum(0), 1, atol=1e-5)
    assert np.array_equal(labels[1].round(3), plane(slice(4 + 4 * number, 10 + 4 * number))[1])


def test_nearer_and_reliable_side_weighs_more():
    """The nearer key frame weighs more, and reliability of the flow weighs most."""
    still, lost = (shift(0), shift(0)), (shift(0), shift(9))
    nothing, all_of_it = plane(slice(0, 0)), plane(slice(0, 40))

    def middle(*flows):
        step = step_of(flows)
        before = nothing, step.features.region
        return [soft[1, 12, 16] for _, soft, _ in interpolate_skipped([(step, all_of_it, True)], before)]

    assert np.allclose(middle(still, still, still)[:2], [1 / 3, 2 / 3], atol=1e-3)
    assert middle(lost, still)[0] > 0.95
    assert middle(still, lost)[0] < 0.05
    assert np.allclose(middle(lost, lost)[0], 0.5, atol=1e-3)


@pytest.mark.parametrize("parts", [2, 4])
def test_interpolation_matches_weighted_mean(parts):
    """Interpolated labels are the weighted mean of both sides where they are not background.

    The naive implementation warps every plane everywhere.
    """
    rng = np.random.default_rng(parts)
    before, after = (np.zeros((parts, 32, 40), np.float32) for _ in range(2))
    for labels in (before, after):
        labels[1:, 8:20, 10:24] = (
            cv2.GaussianBlur(rng.random((12, 14, parts - 1)), (0, 0), 2).reshape(12, 14, parts - 1).transpose(2, 0, 1)
            / parts
        )
        labels[0] = 1 - labels[1:].sum(0)
    flows = [cv2.GaussianBlur(rng.normal(0, 9, (32, 40, 2)).astype(np.float32), (0, 0), 5) for _ in range(4)]
    (there, back), (there2, back2) = flows[:2], flows[2:]
    step = step_of([(there, back), (there2, back2)])
    total, expected = 0, 0
    for labels, flow, other in ((before, there, back), (after, back2, there2)):
        maps = sampling_grid(flow)
        weight = reliability(flow, other, maps, 1.0) + 0.02
        expected = expected + weight * np.stack([cv2.remap(p, *maps, cv2.INTER_LINEAR, borderMode=1) for p in labels])
        total = total + weight
    expected = expected / total
    _, found, _ = next(iter(interpolate_skipped([(step, after, True)], (before, step.features.region))))
    assert np.allclose(found.sum(0), 1, atol=1e-5)
    unsure = expected[0] < 0.98
    assert unsure.sum() > 100
    assert np.allclose(found[:, unsure], expected[:, unsure], atol=1e-4)
    assert np.allclose(found, expected, atol=0.021)


def test_round_trip_tolerance_grows_with_steps():
    """A round trip over more steps may be off by more pixels."""
    off = shift(0), shift(1.5)
    nothing, all_of_it = plane(slice(0, 0)), plane(slice(0, 40))
    step = step_of([off, (shift(0), shift(0)), (shift(0), shift(0))])
    before = nothing, step.features.region
    found = [soft[1, 12, 16] for _, soft, _ in interpolate_skipped([(step, all_of_it, True)], before)]
    trust = {n: np.exp(-((1.5 / n) ** 2)) + 0.02 for n in (1, 2)}
    first, second, _ = found
    assert np.isclose(first, (1.02 / 2) / (1.02 / 2 + trust[1]), atol=1e-3)
    assert np.isclose(second, 1.02 / (1.02 + trust[2] / 2), atol=1e-3)


def test_earlier_labels_resampled_to_region():
    """Labels of the earlier key frame are resampled to the search region of the later one."""
    step = step_of([(shift(0, 0, (16, 16)),) * 2] * 2, region=SearchRegion(4, 8, 16, 16, 1.0))
    before, after = plane(slice(10, 14)), plane(slice(2, 6), (16, 16))
    found = [soft for _, soft, _ in interpolate_skipped([(step, after, True)], (before, full_frame((32, 40))))]
    assert np.allclose(found[0][1], after[1], atol=1e-5)


def test_later_frames_use_nearest_key_frame():
    """Frames farther on are interpolated from the key frame just before them."""
    still = (shift(0), shift(0))
    one, two = step_of([still]), step_of([still, still])
    found = [
        soft[1, 0, 0]
        for _, soft, _ in interpolate_skipped(
            [(one, plane(slice(0, 40)), True), (two, plane(slice(0, 0)), True)],
            (plane(slice(0, 0)), one.features.region),
        )
    ]
    assert np.allclose(found, [1, 0.5, 0], atol=1e-5)


def test_without_flow_sides_are_averaged():
    """Without flow the labels of both sides are averaged by nearness."""
    step = step_of(skipped=2)
    before = plane(slice(0, 0)), step.features.region
    found = [soft[1, 0, 0] for _, soft, _ in interpolate_skipped([(step, plane(slice(0, 40)), True)], before)]
    assert np.allclose(found, [1 / 3, 2 / 3, 1])


def test_step_motion_uses_single_region():
    """Motion is estimated through the skipped frames in the search region of the key frame."""
    asked = []

    def flow(source, target):
        asked.append((int(source[0, 0, 0]), int(target[0, 0, 0]), source.shape))
        return shift(0)

    window = SearchRegion(0, 0, 24, 16, 1.0)
    alone = FusionConfig(appearance_weight=0.0, memory_weight=0.0)
    config = RunConfig(flow_size=32, mask_size=32, fusion=alone)
    one, two, three = (
        FrameFeatures(Frame(i, np.full((32, 40, 3), i, np.uint8), str(i)), config, None, i, w)
        for i, w in ((1, full_frame((32, 40))), (2, window), (3, window))
    )
    motion = step_motion(three, (one, two), flow)
    assert (len(motion.single_steps), motion.steps) == (2, 2)
    assert asked == [(a, b, (24, 16, 3)) for a, b in ((2, 1), (1, 2), (3, 2), (2, 3))]
    assert step_motion(three, (one, two), lambda *_: None) is None
    assert bidirectional_flow(lambda *_: None, three.flow_image, two.flow_image) is None


def test_steps_carry_motion_between_keyframes():
    """A tracker's steps carry the motion from the key frame before, composed through the skipped frames."""
    flows, config = [], RunConfig(flow_size=32, fusion=FusionConfig(appearance_weight=0.0, memory_weight=0.0))

    def flow(source, target):
        flows.append((int(source[0, 0, 0]), int(target[0, 0, 0])))
        return shift(0)

    frames = [Frame(i, np.full((32, 40, 3), i, np.uint8), str(i)) for i in range(1, 6)]
    planner = RegionPlanner(1.0)
    planner.start(np.ones((32, 40), bool))
    tracker = Tracker(config, fused.TRAITS, SimpleNamespace(snapshot=dict), None, planner, flow)
    first, second = tracker.steps(frames[1:], 2, FrameFeatures(frames[0], config, None))
    for step, (left, between, right) in ((first, (1, 2, 3)), (second, (3, 4, 5))):
        assert (step.features.frame.index, [f.frame.index for f in step.skipped]) == (right, [between])
        assert (len(step.motion.single_steps), step.motion.steps) == (2, 2)
        asked = [(between, left), (left, between), (right, between), (between, right)]
        assert flows[:4] == asked
        del flows[:4]
    (alone,) = tracker.steps(frames[:1], 1)
    assert alone.motion is None, "nothing is known of the frame before it"


def test_reversed_steps_reverse_motion():
    """On the way back motion is reversed.

    Where search regions differ it is estimated anew through the same frames.
    """
    asked = []

    def flow(source, target):
        asked.append((int(source[0, 0, 0]), int(target[0, 0, 0])))
        return shift(0)

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
                StepMotion(shift(key), shift(-key), steps=1 + len(between)),
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


@pytest.fixture
def slid(clip_of_a_disc):
    return clip_of_a_disc(9, 4)


def session_of(clip, mask, tiny, at=0, **settings):
    config = RunConfig(network_size=96, mask_size=96, learn=QUICK, **settings)
    session, parts = Segmenter(config, tiny), make_parts(MaskFile(mask.astype(np.int32), {}))
    frame = next(clip.read(at, at + 1))
    session.add_reference(frame, Annotation(frame.rgb, parts.index(mask), parts))
    return session


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


def test_glance_interval_counts_frames(slid, tiny):
    """While a part is gone, the full frame is processed about every eighth frame at any key-frame interval."""
    clip, mask = slid
    for every, glances in ((1, 8), (2, 4), (3, 2), (50, 2)):
        session = session_of(clip, mask, tiny, keyframe_interval=every)
        assert session._stream.tracker._planner._glance == glances


@pytest.mark.parametrize("every", [0, 101])
def test_keyframe_interval_range(every):
    """The interval of key frames has a range."""
    with pytest.raises(ConfigError, match=rf"1\.\.100 frames, got {every}"):
        RunConfig(keyframe_interval=every)


def test_last_labels_count_as_memory(slid, tiny):
    """The last labels count as memory and are in a snapshot, only if frames are interpolated."""
    clip, mask = slid
    keyed, plain = (session_of(clip, mask, tiny, keyframe_interval=n) for n in (2, 1))
    assert keyed.memory_bytes - plain.memory_bytes == keyed.snapshot()["last"].nbytes > 0
    assert "last" not in plain.snapshot()
