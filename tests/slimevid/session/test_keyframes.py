"""Key frames, and labels interpolated between them."""

from __future__ import annotations

from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimecore.types import Frame
from slimevid.config import RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.frame.search_region import SearchRegion, full_frame
from slimevid.motion.composition import StepMotion, compose_flows
from slimevid.motion.warp import reliability, sampling_grid
from slimevid.session.keyframes import KeyframeStep, group_by_keyframe, interpolate_skipped
from tests.slimevid.sessions import uniform_flow


def plane(columns, size=(32, 40)):
    """Return labels of the background and of a part in a range of columns."""
    part = np.zeros(size, np.float32)
    part[:, columns] = 1
    return np.stack([1 - part, part])


def step_of(flows=(), skipped=None, **more):
    """Return a step to a key frame at the size of its flow, which skips a frame less than it has flows."""
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


@pytest.mark.parametrize("number", [1, 2])
def test_skipped_frame_follows_motion(number):
    """Labels of a frame between key frames lie where motion takes them.

    A part moves four columns a frame, over three frames from a key frame to the next.
    """
    step = step_of([(uniform_flow(-4), uniform_flow(4))] * 3)
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
    still, lost = (uniform_flow(0), uniform_flow(0)), (uniform_flow(0), uniform_flow(9))
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
    off = uniform_flow(0), uniform_flow(1.5)
    nothing, all_of_it = plane(slice(0, 0)), plane(slice(0, 40))
    step = step_of([off, (uniform_flow(0), uniform_flow(0)), (uniform_flow(0), uniform_flow(0))])
    before = nothing, step.features.region
    found = [soft[1, 12, 16] for _, soft, _ in interpolate_skipped([(step, all_of_it, True)], before)]
    trust = {n: np.exp(-((1.5 / n) ** 2)) + 0.02 for n in (1, 2)}
    first, second, _ = found
    assert np.isclose(first, (1.02 / 2) / (1.02 / 2 + trust[1]), atol=1e-3)
    assert np.isclose(second, 1.02 / (1.02 + trust[2] / 2), atol=1e-3)


def test_earlier_labels_resampled_to_region():
    """Labels of the earlier key frame are resampled to the search region of the later one."""
    step = step_of([(uniform_flow(0, 0, (16, 16)),) * 2] * 2, region=SearchRegion(4, 8, 16, 16, 1.0))
    before, after = plane(slice(10, 14)), plane(slice(2, 6), (16, 16))
    found = [soft for _, soft, _ in interpolate_skipped([(step, after, True)], (before, full_frame((32, 40))))]
    assert np.allclose(found[0][1], after[1], atol=1e-5)


def test_later_frames_use_nearest_key_frame():
    """Frames farther on are interpolated from the key frame just before them."""
    still = (uniform_flow(0), uniform_flow(0))
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
