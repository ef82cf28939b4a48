"""Search regions of a session follow the parts."""

from __future__ import annotations

import numpy as np
import pytest

from slimecore.imaging.guided_filter import filter_radius, refine
from slimecore.io.masks import MaskFile, make_parts
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.metrics.davis import region_j
from slimecore.types import Annotation, Frame
from slimevid.config import RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.frame.search_region import (
    full_frame,
)
from slimevid.propagators import StepResult, fused
from slimevid.session import learning as teaching
from slimevid.session import segmenter


def wide_clip(two_tone, count=12):
    """Return frames and masks of the disc, sliding over a background three times as wide and twice as high."""
    rgb, mask = two_tone
    ground = np.tile(rgb[:20, :], (10, 3, 1))[:192]
    frames, masks = [], []
    for i in range(count):
        top, left = 60, 20 + 12 * i
        frame, marked = ground.copy(), np.zeros(ground.shape[:2], np.uint8)
        inside = mask[20:76, 32:90] > 0
        frame[top : top + 56, left : left + 58][inside] = rgb[20:76, 32:90][inside]
        marked[top : top + 56, left : left + 58][inside] = 1
        frames.append(Frame(i, frame, f"{i:05d}"))
        masks.append(marked)
    return frames, masks


def test_region_follows_part_magnified(two_tone, tiny, monkeypatch):
    """The search region follows a part across the frame and magnifies it."""
    seen, learned = [], []
    real_step, real_learn = fused._Fused.step, teaching.learn_parts
    monkeypatch.setattr(
        fused._Fused, "step", lambda self, features, motion: seen.append(features) or real_step(self, features, motion)
    )

    def learn(backbone, annotations, config, **more):
        learned.append((annotations[0].rgb.shape[:2], more["short_side"]))
        return real_learn(backbone, annotations, config, **more)

    monkeypatch.setattr(teaching, "learn_parts", learn)
    frames, masks = wide_clip(two_tone)
    quick = LearnConfig(tokens=2, steps=30, views=ViewConfig(count=1))
    session = segmenter.Segmenter(RunConfig(network_size=96, mask_size=96, flow_size=96, learn=quick), tiny)
    parts = make_parts(MaskFile(masks[0].astype(np.int32), {}))
    session.add_reference(frames[0], Annotation(frames[0].rgb, parts.index(masks[0]), parts))
    assert learned == [((192, 384), 192)]  # all of the reference, as large as the window shows it
    for frame, mask in zip(frames[1:], masks[1:], strict=True):
        labels = session.step(frame).labels
        assert region_j(labels > 0, mask > 0) > 0.9
        top, left, height, width = seen[-1].region.to_array()[:4].astype(int)
        outside = np.ones_like(mask, bool)
        outside[max(0, top - 4) : top + height + 4, max(0, left - 4) : left + width + 4] = False
        assert not labels[outside].any()
    assert {each.region.zoom for each in seen} == {2.0}
    assert len({each.region.left for each in seen}) > 1
    assert all(each.features.grid[0] * each.features.grid[1] <= 12 * 24 * 1.1 for each in seen)


def test_without_zoom_full_frame_processed(two_tone, tiny):
    """Without zoom the full frame is processed."""
    frames, masks = wide_clip(two_tone, 2)
    quick = LearnConfig(tokens=2, steps=5, views=ViewConfig(count=1))
    session = segmenter.Segmenter(RunConfig(network_size=96, mask_size=96, max_zoom=1.0, learn=quick), tiny)
    parts = make_parts(MaskFile(masks[0].astype(np.int32), {}))
    session.add_reference(frames[0], Annotation(frames[0].rgb, parts.index(masks[0]), parts))
    session.step(frames[1])
    assert {session._stream.tracker._planner.at(i) for i in (2, 3)} == {full_frame((192, 384))}


@pytest.mark.parametrize("dropped", [False, True])
def test_dropped_part_does_not_hold_region(two_tone, tiny, monkeypatch, dropped):
    """A dropped part does not hold the search region."""
    frames, masks = wide_clip(two_tone, 2)
    labels = masks[0].astype(np.int32)
    labels[150:180, 340:370] = 2  # far from the disc
    quick = LearnConfig(tokens=2, steps=5, views=ViewConfig(count=1))
    session = segmenter.Segmenter(RunConfig(network_size=96, mask_size=96, learn=quick), tiny)
    parts = make_parts(MaskFile(labels, {}))
    session.add_reference(frames[0], Annotation(frames[0].rgb, parts.index(labels), parts))
    if dropped:
        session.drop(2)
    found = np.stack([labels == i for i in range(3)]).astype(np.float32)
    tracker = session._stream.tracker
    monkeypatch.setattr(
        tracker._propagator, "step", lambda features, _motion: StepResult(found[(slice(None), *features.region.box)])
    )
    session.step(frames[1])
    window = tracker._planner.at(3)
    assert (window.left + window.width > 340) == (not dropped)


def test_session_filters_with_surrounding_background(two_tone, tiny, monkeypatch):
    """A session filters with the background around its search region.

    The region is uncertain everywhere: its rim is as if the full frame were filtered.
    """
    frames, masks = wide_clip(two_tone, 2)
    quick = LearnConfig(tokens=2, steps=5, views=ViewConfig(count=1))
    session = segmenter.Segmenter(RunConfig(network_size=96, mask_size=96, flow_size=96, learn=quick), tiny)
    parts = make_parts(MaskFile(masks[0].astype(np.int32), {}))
    session.add_reference(frames[0], Annotation(frames[0].rgb, parts.index(masks[0]), parts))
    monkeypatch.setattr(
        fused._Fused, "step", lambda _, features, _motion: StepResult(np.full((2, *features.size), 0.5, np.float32))
    )
    window = session._stream.tracker._planner.at(1)
    session.step(frames[1])
    half = full_frame((192, 384)).paste(np.full((2, window.height, window.width), 0.5, np.float32), window)
    wanted = refine(half, frames[1].rgb, filter_radius(8, (192, 384)), 1e-4)
    assert window != full_frame((192, 384))
    assert np.array_equal(session.soft, wanted)


@pytest.mark.parametrize(
    ("side", "work_side", "pixels", "there"),
    [(8, 96, 1, False), (8, 96, 9, True), (2, 48, 1, True), (2, 96, 1, False)],
    ids=["a noisy pixel is no part", "nine are", "a small part at half the size", "... at its own"],
)
def test_visibility_scales_with_mask_size(tiny, side, work_side, pixels, there):
    """A part is visible with as many pixels as its smallest annotation has at mask size."""
    rgb = np.zeros((96, 96, 3), np.uint8)
    mask = np.zeros((96, 96), np.int32)
    mask[40 : 40 + side, 40 : 40 + side] = 1
    learn = LearnConfig(tokens=1, steps=1, views=ViewConfig(count=1))
    session = segmenter.Segmenter(RunConfig(network_size=48, flow_size=48, mask_size=work_side, learn=learn), tiny)
    session.add_reference(rgb, mask)
    soft = np.zeros((2, work_side, work_side), np.float32)
    soft[1].flat[:pixels] = 0.9
    soft[0] = 1 - soft[1]
    tracker = session._stream.tracker
    assert tracker._locate(soft, FrameFeatures(Frame(1, rgb, "1"), session.config, tiny, 1))[1] is there


@pytest.mark.parametrize("there", [True, False])
def test_visibility_of_parts_reaches_planner(two_tone, tiny, monkeypatch, there):
    """The planner is told if all parts are visible."""
    rgb, mask = two_tone
    learn = LearnConfig(tokens=2, steps=5, views=ViewConfig(count=1))
    session = segmenter.Segmenter(RunConfig(network_size=96, mask_size=96, learn=learn), tiny)
    session.add_reference(rgb, mask)
    told = []
    tracker = session._stream.tracker
    monkeypatch.setattr(tracker, "_locate", lambda *_: (None, there))
    monkeypatch.setattr(tracker._planner, "observe", lambda *_, complete: told.append(complete))
    session.step(rgb)
    assert told == [there]
