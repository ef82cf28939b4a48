"""A thing of several parts: they stay where they are."""

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
from slimevid.frame.features import FrameFeatures
from slimevid.frame.search_region import SearchRegion
from slimevid.fusion.soft_labels import TwoLevelLabels
from slimevid.propagators import Context
from slimevid.propagators.fused import build
from slimevid.session.segmenter import Segmenter

QUICK = LearnConfig(tokens=2, steps=5, views=ViewConfig(count=1))


def sliding(two_tone, tiny, cut, count=5, **settings):
    """Labels of the disc that slides, cut into `cut` slices, beside the true ones; first frames left out."""
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
def test_memory_read_finely_where_uncertain(
    two_tone, tiny, monkeypatch, ground, parts, fine
):
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


def test_outside_old_region_is_background():
    """Outside an old search region labels are background."""
    seen = TwoLevelLabels(np.zeros((4, 8), np.float32), np.full((2, 4, 8), 0.5, np.float32))
    there = seen.to_region(SearchRegion(0, 0, 40, 80), SearchRegion(0, 40, 40, 80), (4, 8), (4, 8))
    assert (there.background[:, 5:] == 1).all()
    assert (there.parts[:, :, 5:] == 0).all()
    assert (there.parts[:, :, :4] == 0.5).all()


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
    """One step of `fused` on two parts that fill the picture, left and right, whose border lies at column 37."""
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
