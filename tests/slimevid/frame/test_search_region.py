"""What is looked at: where windows lie, when they move, and that what is seen through two of them fits together."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slimecore.imaging.boxes import bounding_spans
from slimecore.imaging.guided_filter import filter_radius, filter_support, refine
from slimecore.io.masks import MaskFile, make_parts
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.memory.config import MemoryConfig
from slimecore.memory.mask_memory import MaskMemory
from slimecore.metrics.davis import region_j
from slimecore.types import Annotation, Frame
from slimevid.config import RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.frame.labels import decide_labels
from slimevid.frame.region_planner import RegionPlanner
from slimevid.frame.search_region import (
    SearchRegion,
    full_frame,
    next_region,
    part_extent,
    region_around,
    resample_between,
)
from slimevid.propagators import StepResult, fused
from slimevid.session import learning as teaching
from slimevid.session import segmenter
from tests.known_places import KnownPlaces

SIZE = (120, 200)


def marked(top, left, bottom, right):
    mask = np.zeros(SIZE, bool)
    mask[top:bottom, left:right] = True
    return mask


@given(st.data())
def test_region_holds_parts_at_constant_cost(data):
    """A search region lies in the frame and holds the parts, at no more pixels than the full frame."""
    top, left = data.draw(st.integers(0, SIZE[0] - 1)), data.draw(st.integers(0, SIZE[1] - 1))
    bottom, right = data.draw(st.integers(top + 1, SIZE[0])), data.draw(st.integers(left + 1, SIZE[1]))
    window = region_around(bounding_spans(marked(top, left, bottom, right)), SIZE, 2.0)
    assert 0 <= window.top <= top
    assert 0 <= window.left <= left
    assert bottom <= window.top + window.height <= SIZE[0]
    assert right <= window.left + window.width <= SIZE[1]
    assert window.zoom**2 * window.height * window.width <= SIZE[0] * SIZE[1] * (1 + 1e-9)
    assert 1 <= window.zoom <= 2
    assert window.height >= 0.4 * SIZE[0]
    assert window.width >= 0.4 * SIZE[1]
    assert SearchRegion.from_array(window.to_array()) == window


def test_extent_ignores_strays_not_parts():
    """Stray pixels do not change the extent of the parts, but every part does."""
    labels = np.zeros((60, 100), np.int64)  # of a window at half its size
    labels[20:30, 30:50] = 1
    window = SearchRegion(8, 20, 120, 200, 1.5)
    found = ((48, 68), (80, 120))
    assert part_extent(labels, window) == found
    labels[50:55, 90:97] = 1  # 35 pixels beside 200
    labels[25:28, 45:55] = 2  # touches part 1
    labels[0, 0] = 2
    assert part_extent(labels, window) == (found[0], (80, 130))
    labels[50:56, 90:97] = 1  # 42: a fifth
    assert part_extent(labels, window) == ((48, 120), (80, 214))
    labels[5, 99] = 3  # however small, all there is of a part
    assert part_extent(labels, window) == ((18, 120), (80, 220))
    assert part_extent(np.zeros_like(labels), window) is None


def test_extent_of_many_pieces():
    """The extent is right for many parts in many pieces.

    The pieces are more than a byte counts, in labels that are bytes.
    """
    dots = np.zeros(SIZE, np.uint8)
    dots[10:110:4, 20:180:4] = 1
    assert dots.sum() == 1000
    assert part_extent(dots, full_frame(SIZE)) == ((10, 107), (20, 177))
    stripes = np.zeros(SIZE, np.uint8)
    for part in range(1, 21):
        stripes[40:80, 8 * part : 8 * part + 6] = part
    stripes[5:7, 5:7] = 20  # a stray
    assert part_extent(stripes, full_frame(SIZE)) == ((40, 80), (8, 166))


@given(st.data())
def test_extent_covers_labels_within_region(data):
    """The extent covers the labels found in a search region."""
    height, width = data.draw(st.integers(1, 30)), data.draw(st.integers(1, 30))
    window = SearchRegion(data.draw(st.integers(0, 20)), data.draw(st.integers(0, 20)), 30, 40)
    top, left = data.draw(st.integers(0, height - 1)), data.draw(st.integers(0, width - 1))
    labels = np.zeros((height, width), np.int64)
    labels[top : top + 3, left : left + 3] = 1
    (first, end), (start, stop) = part_extent(labels, window)
    rows = [y for y in range(30) if labels.any(1)[y * height // 30]]
    columns = [x for x in range(40) if labels.any(0)[x * width // 40]]
    assert window.top <= first <= window.top + rows[0]
    assert window.top + rows[-1] < end <= window.top + 30
    assert window.left <= start <= window.left + columns[0]
    assert window.left + columns[-1] < stop <= window.left + 40


def test_nothing_to_follow_gives_full_frame():
    """Without parts or without zoom the search region is the full frame."""
    here = ((50, 80), (60, 90))
    assert bounding_spans(np.zeros(SIZE, bool)) is None
    assert bounding_spans(marked(50, 60, 80, 90)) == here
    assert region_around(None, SIZE, 2.0) == full_frame(SIZE)
    assert region_around(here, SIZE, 1.0) == full_frame(SIZE)
    assert next_region(region_around(here, SIZE, 2.0), here, None, SIZE, 2.0) == full_frame(SIZE)


def test_region_stays_until_border_or_slack():
    """A search region stays until the parts come near its border or fill too little of it."""
    here = ((50, 80), (90, 120))
    window = region_around(here, SIZE, 2.0)

    def after(now, window=window, before=None):
        return next_region(window, before, now, SIZE, 2.0)

    assert after(((52, 82), (94, 124))) is window
    gone = ((50, 80), (118, 148))
    assert after(gone) == region_around(gone, SIZE, 2.0) != window
    wide = region_around(((10, 110), (20, 180)), SIZE, 2.0)
    assert after(here, wide) == window
    # At the picture's own border there is no room to ask for.
    corner = region_around(((0, 40), (0, 40)), SIZE, 2.0)
    assert after(((0, 38), (0, 38)), corner) is corner


def test_region_anticipates_two_frames():
    """A new search region is where the parts will be in two frames."""
    window = region_around(((50, 80), (60, 90)), SIZE, 2.0)
    still = next_region(window, ((50, 80), (64, 94)), ((50, 80), (64, 94)), SIZE, 2.0)
    moved = next_region(window, ((50, 80), (54, 84)), ((50, 80), (64, 94)), SIZE, 2.0)
    assert still is window
    assert moved == region_around(((50, 80), (64, 114)), SIZE, 2.0)
    leap = next_region(window, ((50, 80), (0, 30)), ((50, 80), (64, 94)), SIZE, 2.0)
    assert leap == region_around(((50, 80), (64, 124)), SIZE, 2.0)  # by no more than its own extent


def test_resampled_labels_keep_position():
    """Labels resampled to another search region keep their positions."""
    soft = np.zeros((2, 60, 100), np.float32)
    y, x = np.mgrid[:60, :100]
    soft[1] = (np.hypot(y - 30, x - 40) < 12).astype(np.float32)
    soft[0] = 1 - soft[1]
    old, new = SearchRegion(0, 0, 60, 100), SearchRegion(10, 20, 40, 50, 1.3)
    cut = resample_between(soft, old, new, (40, 50))
    assert np.array_equal(cut, soft[:, 10:50, 20:70])
    back = resample_between(cut, new, old, (60, 100))
    assert np.array_equal(back, soft)  # the disc lay inside; all else is background
    fine = resample_between(soft, old, new, (80, 100))
    assert fine[1].sum() == pytest.approx(4 * soft[1].sum(), rel=0.02)
    assert (y * soft[1]).sum() / soft[1].sum() == pytest.approx(
        10 + ((np.mgrid[:80, :100][0] + 0.5) * fine[1]).sum() / fine[1].sum() / 2 - 0.5, abs=0.05
    )


def test_memory_region_change_keeps_positions():
    """After a change of the search region the memory answers for the same positions.

    Cells remembered in an image are read through a region of it: nearness is judged where they are.
    """
    config = MemoryConfig(
        write_interval=1,
        keys_per_frame=0,
        color_weight=0.0,
        temperature=10.0,
        class_balance=0.0,
        spatial_sigma=0.1,
        novelty_distance=0.0,
    )
    grid, part = (12, 20), (6, 10)
    flat = torch.ones(240, 4) / 2
    soft = torch.rand(2, *grid, generator=torch.Generator().manual_seed(0)).softmax(0)
    memory = MaskMemory(config)
    memory.write(KnownPlaces(flat, torch.zeros(240, 3), grid), soft)
    memory.change_region((-3.0, -5.0), 12.0, 6.0)  # rows 3..9 and columns 5..15 of 12 x 20
    found = memory.read(KnownPlaces(flat[:60], torch.zeros(60, 3), part)).T.reshape(2, *part)
    wide = MaskMemory(MemoryConfig(**{**config_values(config), "spatial_sigma": 0.05}))
    wide.write(KnownPlaces(flat, torch.zeros(240, 3), grid), soft)
    same = wide.read(KnownPlaces(flat, torch.zeros(240, 3), grid)).T.reshape(2, *grid)
    torch.testing.assert_close(found, same[:, 3:9, 5:15], atol=0.02, rtol=0)
    assert (found[0] - soft[0, 3:9, 5:15]).abs().max() > 0.001


def config_values(config):
    return {name: getattr(config, name) for name in config.__dataclass_fields__}


def wide_clip(two_tone, count=12):
    """The disc, sliding over a ground three times as wide and twice as high: frames and masks."""
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


def test_full_frame_every_eighth_while_gone():
    """While a part is gone the full frame is processed every eighth time."""
    plan, mask = RegionPlanner(2.0), marked(50, 60, 80, 90)
    window = plan.start(mask)
    for ordinal in range(1, 20):
        plan.observe(ordinal, bounding_spans(mask), SIZE, complete=ordinal < 5)
        assert plan.at(ordinal + 2) == (full_frame(SIZE) if ordinal in (8, 16) else window)
    other = RegionPlanner(2.0)
    other.restore(20, plan.snapshot(20))
    for each in (plan, other):
        each.observe(20, ((50, 80), (70, 100)), SIZE, complete=True)
    assert other.at(22) == plan.at(22) != window


def test_planner_without_parts_restored():
    """A planner that saw no part is restored."""
    plan, other = RegionPlanner(2.0), RegionPlanner(2.0)
    plan.start(marked(50, 60, 80, 90))
    plan.observe(1, None, SIZE, complete=False)
    other.restore(2, plan.snapshot(2))
    for each in (plan, other):
        each.observe(2, ((10, 40), (10, 40)), SIZE, complete=True)
    assert other.at(4) == plan.at(4)


@pytest.mark.parametrize("corner", [(0, 0), (11, 30), (36, 52)])
@pytest.mark.parametrize("radius", [0, 3, 8])
def test_expanded_region_matches_full_frame(corner, radius):
    """A frame filtered within its expanded search region gives the result of the full frame.

    Labels are uncertain at the region's very border, and are filtered with the background around it, bit for bit.
    """
    random = np.random.default_rng(0)
    size, inner = (96, 128), SearchRegion(*corner, 60, 76)
    rgb = random.integers(0, 256, (*size, 3)).astype(np.uint8)
    soft = random.dirichlet(np.ones(3), inner.height * inner.width).T.reshape(3, inner.height, inner.width)
    soft = np.ascontiguousarray(soft, np.float32)
    wanted = refine(full_frame(size).paste(soft, inner), rgb, radius, 1e-4)
    grown = inner.expanded(max(1, filter_support(radius)), size)
    found = refine(grown.paste(soft, inner), rgb[grown.box], radius, 1e-4)
    assert np.array_equal(full_frame(size).paste(found, grown), wanted)
    parts = make_parts(MaskFile(np.array([[0, 3, 9]]), {}, True, []))
    smallest, frame = np.array([9, 9]), Frame(0, rgb, "0")
    one, other = (
        decide_labels(frame, found, parts, smallest, 0.4, grown.box),
        decide_labels(frame, wanted, parts, smallest, 0.4),
    )
    assert np.array_equal(one.labels, other.labels)
    assert set(np.unique(one.labels)) == {0, 3, 9}
    for name in ("presence", "confidence", "area", "present"):
        assert np.array_equal(getattr(one, name), getattr(other, name)), name


@given(
    st.tuples(st.integers(0, 20), st.integers(0, 30)),
    st.tuples(st.integers(1, 20), st.integers(1, 30)),
    st.integers(1, 40),
)
def test_expanded_region_is_whole_cells(corner, sides, cell):
    """An expanded search region consists of whole cells, with a cell around it as far as the frame reaches."""
    size = (40, 60)
    grown = SearchRegion(*corner, *sides).expanded(cell, size)
    for low, length, start, side, most in zip(
        (grown.top, grown.left), (grown.height, grown.width), corner, sides, size, strict=True
    ):
        held = {pixel // cell for pixel in range(start, start + side)}
        wanted = [pixel for pixel in range(most) if {pixel // cell - 1, pixel // cell, pixel // cell + 1} & held]
        assert (low, low + length) == (wanted[0], wanted[-1] + 1)


def test_filter_radius_scales_from_480_lines():
    """The filter's radius is given for an image of 480 lines."""
    assert [filter_radius(8, (480, 854)), filter_radius(8, (1080, 720)), filter_radius(8, (20, 30))] == [8, 12, 1]
    assert filter_radius(0, (480, 854)) == 0


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
