"""The default propagator: several parts, appearance between readings, colour and refinement network."""

from __future__ import annotations

import numpy as np
import pytest

from slimecore.imaging.resize import resize_soft
from slimecore.io.masks import MaskFile, make_parts
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.memory.config import MemoryConfig
from slimecore.metrics.davis import region_j
from slimecore.types import Annotation, Frame
from slimevid.config import FusionConfig, RunConfig
from slimevid.cues.color_model import LIMIT, ColorModel
from slimevid.frame.features import FrameFeatures
from slimevid.propagators import Context, fused
from slimevid.propagators.fused import build
from slimevid.session.segmenter import Segmenter
from tests.slimevid.sessions import (
    ConstantRefiner,
    RecordingRefiner,
    annotate,
    clip_of,
    quick_learning,
    refined_session,
    unfiltered_session,
)

QUICK = LearnConfig(tokens=2, steps=5, views=ViewConfig(count=1))


def sliding(two_tone, tiny, cut, count=5, **settings):
    """Return labels of the sliding disc, cut into `cut` slices, and the true ones, without the first frame."""
    rgb, mask = two_tone
    rows = np.arange(len(mask))[:, None]
    first, last = np.flatnonzero(mask.any(1))[[0, -1]]
    slices = np.where(mask > 0, 1 + (rows - first) * cut // (last - first + 1), 0).astype(np.int32)
    segmenter = Segmenter(RunConfig(network_size=96, mask_size=96, learn=QUICK, **settings), tiny)
    parts = make_parts(MaskFile(slices, {}))
    segmenter.add_reference(Frame(0, rgb, "0"), Annotation(rgb, parts.index(slices), parts))
    frames = [Frame(i, np.roll(rgb, 6 * i, 1), str(i)) for i in range(1, count)]
    return [segmenter.step(frame).labels for frame in frames], [np.roll(slices, 6 * i, 1) for i in range(1, count)]


@pytest.mark.parametrize("finer", [0.5, 1.0, 1.7])
def test_parts_stable_on_any_grid(two_tone, tiny, monkeypatch, finer):
    """Parts keep their places on any grid of parts.

    The memory grid may differ: descriptors of other models span other pixels.
    """
    grid = FrameFeatures.grid.fget
    monkeypatch.setattr(
        FrameFeatures, "grid", property(lambda features: tuple(round(finer * n) for n in grid(features)))
    )
    found, truth = sliding(two_tone, tiny, 3)
    for part in (1, 2, 3):
        assert np.mean([region_j(f == part, t == part) for f, t in zip(found, truth, strict=True)]) > 0.75


@pytest.mark.parametrize(
    ("ground", "parts", "fine"),
    [(0.0, (0.5, 0.5), True), (0.0, (0.96, 0.04), False), (0.5, (0.5, 0.0), True), (1.0, (0.0, 0.0), False)],
)
def test_memory_read_finely_where_uncertain(two_tone, tiny, monkeypatch, ground, parts, fine):
    """The memory is read finely where the background or the part is uncertain."""
    asked = []

    def read_memory(_memory, places, doubted):
        reading = np.zeros((3, *places.grid), np.float32)
        reading[0], reading[1], reading[2] = ground, *parts
        asked.append(doubted(reading))
        return reading

    monkeypatch.setattr("slimevid.propagators.fused.read_memory", read_memory)
    sliding(
        two_tone,
        tiny,
        2,
        count=2,
        fusion=FusionConfig(appearance_weight=0.0, flow_weight=0.0, background_motion_weight=0.0, search_radius=0.0),
    )
    assert (asked[0] == fine).all()


def test_grid_labels_follow_latest_frame(two_tone, tiny, monkeypatch):
    """Labels on the grid are those of the latest frame."""
    sessions = []
    step = Segmenter.step
    monkeypatch.setattr(Segmenter, "step", lambda session, frame: sessions.append(session) or step(session, frame))
    sliding(two_tone, tiny, 2, count=3)
    fused = sessions[-1]._stream.tracker._propagator
    grid = fused._appearance.parts.shape[1:]
    assert np.array_equal(fused._labels_on(grid), resize_soft(fused._labels, grid))


def halves(config, tiny, moved=(0.0, 0.0)):
    """Return a step of `fused` on two parts that fill the image, left and right, with their boundary at column 37."""
    flows = iter([np.full((60, 80, 2), shift, np.float32) for shift in moved])
    frame = Frame(0, np.zeros((60, 80, 3), np.uint8), "0")
    soft = np.zeros((3, 60, 80), np.float32)
    soft[1, :, :37] = soft[2, :, 37:] = 1
    fused = build(Context(config, 3, lambda *_: next(flows), object(), "cpu"))
    fused.start(FrameFeatures(frame, config, tiny), soft)
    return fused.step(FrameFeatures(frame, config, tiny, 1)).labels


def test_part_boundary_solved_at_mask_size(tiny):
    """Confident parts are separated at mask size where they meet.

    The background is uncertain nowhere. On the grid the boundary would be spread over several pixels.
    """
    fusion = FusionConfig(
        flow_weight=4.0,
        appearance_weight=0.0,
        memory_weight=0.0,
        background_motion_weight=0.0,
        color_weight=0.0,
        refinement_limit=0.0,
    )
    config = RunConfig(
        network_size=32, flow_size=60, mask_size=60, memory=MemoryConfig(grid_upsampling=2), fusion=fusion
    )
    found = halves(config, tiny)
    assert found[1, :, 36].min() > 0.9
    assert found[2, :, 37].min() > 0.9


def test_large_flow_gain_keeps_parts(tiny, monkeypatch):
    """However large the flow's gain, no part becomes background."""
    for module in ("slimevid.propagators.fused", "slimevid.fusion.label_solver"):
        monkeypatch.setattr(f"{module}.FLOW_GAIN", 1e6)
    fusion = FusionConfig(
        appearance_weight=0.0,
        memory_weight=0.0,
        background_motion_weight=0.0,
        color_weight=0.0,
        refinement_limit=0.0,
    )
    found = halves(RunConfig(flow_size=60, mask_size=60, fusion=fusion), tiny)
    assert found[0].max() < 0.1


def test_motion_evidence_uses_nearest_part(tiny, monkeypatch):
    """Motion evidence is taken for the nearest part."""
    seen = []
    monkeypatch.setattr("slimevid.fusion.flow_evidence.residual_motion", lambda *_: np.zeros((60, 80), np.float32))
    monkeypatch.setattr(
        "slimevid.fusion.flow_evidence.background_log_odds",
        lambda _departures, ground, nearest, *_: seen.append(nearest) or np.zeros_like(ground),
    )
    halves(
        RunConfig(
            flow_size=60,
            mask_size=60,
            fusion=FusionConfig(appearance_weight=0.0, memory_weight=0.0, refinement_limit=0.0),
        ),
        tiny,
    )
    assert (seen[0][:, :32] == 0).all()
    assert (seen[0][:, 44:] == 1).all()


def test_closed_gate_propagates_nothing(tiny, disc):
    """With a motion gate of 0 propagated labels never contain the additions of colour and refinement network."""
    adding, alone = (
        refined_session(tiny, RecordingRefiner(3.0), motion_gate=0.0),
        refined_session(tiny, color_weight=0.0, refinement_limit=0.0),
    )
    for one in (adding, alone):
        one.add_reference(*disc(0))
    more = 0
    for i in range(1, 6):
        more += int((adding.step(disc(i)[0]).labels > 0).sum()) - int((alone.step(disc(i)[0]).labels > 0).sum())
    assert more > 0
    found, expected = adding.snapshot(), alone.snapshot()
    assert found.keys() == expected.keys()
    assert "soft" in found
    for name in found:
        assert np.array_equal(found[name], expected[name]), name


def test_refinement_limit_caps_additions(tiny, disc):
    """The refinement network adds no more than ``fusion.refinement_limit``."""
    results = []
    for value, limit in ((50.0, 1.0), (1.0, 4.0), (0.0, 4.0)):
        one = refined_session(tiny, RecordingRefiner(value), refinement_limit=limit)
        one.add_reference(*disc(0))
        one.step(disc(1)[0])
        results.append(one.soft)
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_color_odds_added_with_weight(tiny, disc):
    """Without the network colour is added with its weight."""
    soft = []
    for weight in (0.0, 0.5):
        one = refined_session(tiny, color_weight=weight, refinement_limit=0.0, guided_filter_radius=0)
        first, mask = disc(0)
        one.add_reference(first, mask)
        one.step(first)  # the reference again: the window's odds are those of its pixels
        soft.append(one.soft)
    model = ColorModel()
    model.learn(first, np.stack([mask == 0, mask > 0]).astype(np.float32))
    before, after = (np.log((1 - s[0]).clip(1e-6) / s[0].clip(1e-6)) for s in soft)
    sure = (mask > 0) & (model.odds(first) == LIMIT) & (np.abs(before) < 3)
    assert sure.sum() > 20
    assert np.median((after - before)[sure]) == pytest.approx(0.5 * LIMIT, abs=0.2)


def test_refinement_limit_zero_skips_network(tiny, disc):
    """With ``fusion.refinement_limit`` 0 the network is not called."""
    adding = RecordingRefiner(1.0)
    one = refined_session(tiny, adding, refinement_limit=0.0)
    one.add_reference(*disc(0))
    one.step(disc(1)[0])
    assert not adding.seen


def test_relabelled_frame_drops_old_correction(tiny, disc, monkeypatch):
    """A frame labelled again where no pixel is uncertain displays no earlier correction."""
    one = unfiltered_session(tiny, ConstantRefiner(1.0))
    one.add_reference(*disc(0))
    features = FrameFeatures(Frame(1, disc(1)[0], "1"), one.config, tiny, 1)
    propagator = one._stream.tracker._propagator
    first = propagator.step(features)
    assert first.correction is not None
    assert np.array_equal(first.displayed, first.correction.applied_to(first.labels))
    monkeypatch.setattr(fused, "solve_labels", lambda _evidence, _grid, _size, previous, *_: (previous, None))
    again = propagator.step(features)
    assert again.correction is None
    assert again.displayed is again.labels


def test_appearance_warped_between_readings(two_tone, tiny, monkeypatch):
    """The appearance map is warped between readings.

    It is read at the first and third key frame only. Warped by the flow between, it alone still follows the part.
    """
    import slimevid.propagators.fused as module

    read = []
    real = module.read_out
    monkeypatch.setattr(module, "read_out", lambda *a: read.append(1) or real(*a))
    fusion = FusionConfig(
        appearance_weight=1.0,
        appearance_interval=2,
        memory_weight=0.0,
        flow_weight=0.0,
        background_motion_weight=0.0,
        guided_filter_radius=0,
    )
    frames, truth = clip_of(two_tone, count=5, step=12)
    config = RunConfig(network_size=96, mask_size=96, learn=quick_learning(30), fusion=fusion)
    segmenter = Segmenter(config, tiny)
    segmenter.add_reference(frames[0], annotate(frames[0], truth[0]))
    scores = []
    for frame, mask in zip(frames[1:], truth[1:], strict=True):
        scores.append(region_j(segmenter.step(frame).labels, mask))
    assert len(read) == 2
    assert scores[1] > 0.85 * scores[0]
    assert scores[3] > 0.85 * scores[2]


@pytest.mark.parametrize(
    ("round_trip", "apart", "power"), [(9.0, 2.0, 1), (9.0, 0.0, 0), (0.0, 0.0, 0.5), (0.0, 2.0, 1.5)]
)
def test_unreliable_flow_assigns_nearby_part(tiny, monkeypatch, round_trip, apart, power):
    """Where motion is unreliable a pixel is assigned to the part nearby.

    Only motion gives evidence. Forward and backward flow contradict each other by a number of pixels, or not at all.
    """
    there, back = np.zeros((60, 80, 2), np.float32), np.full((60, 80, 2), round_trip, np.float32)
    flows = iter([there, back])
    fusion = FusionConfig(
        appearance_weight=0.0,
        memory_weight=0.0,
        background_motion_weight=0.0,
        color_weight=0.0,
        refinement_limit=0.0,
    )
    for module in ("slimevid.propagators.fused", "slimevid.fusion.label_solver"):
        monkeypatch.setattr(f"{module}.FLOW_GAIN", apart)
    config = RunConfig(flow_size=60, mask_size=60, fusion=fusion)
    frame = Frame(0, np.zeros((60, 80, 3), np.uint8), "0")
    soft = np.zeros((3, 60, 80), np.float32)
    soft[1, :, :40] = soft[2, :, 40:] = 0.8
    soft[1:] += 0.1
    fused = build(Context(config, 3, lambda *_: next(flows), object(), "cpu"))
    fused.start(FrameFeatures(frame, config, tiny), soft)
    found = fused.step(FrameFeatures(frame, config, tiny, 1)).labels
    odds = (0.98 * 0.9 + 0.02 / 10) / (0.98 * 0.1 + 0.02 / 10)  # with the floor
    assert found[1, :, :25] / found[2, :, :25] == pytest.approx(odds**power, rel=0.05)
    assert found[2, :, 55:] / found[1, :, 55:] == pytest.approx(odds**power, rel=0.05)
    assert np.allclose(found.sum(0), 1, atol=1e-5)
