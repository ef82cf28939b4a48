"""Search regions: where they lie, when they move, and resampling between two of them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimecore.imaging.boxes import bounding_spans
from slimecore.imaging.guided_filter import filter_support, refine
from slimecore.io.masks import MaskFile, make_parts
from slimecore.types import Frame
from slimevid.frame.labels import decide_labels
from slimevid.frame.search_region import (
    SearchRegion,
    full_frame,
    next_region,
    part_extent,
    region_around,
    resample_between,
)

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
