"""Overlapping tiles and their merge, against the naive implementation of the published rules."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from slimecore.imaging.tiling import TileMerger, tiles
from tests.slimecore import naive_slime as naive


@given(st.tuples(st.integers(8, 90), st.integers(8, 90)), st.integers(1, 4), st.floats(0.5, 1.0))
def test_tiles_cover_image(size, count, share):
    """Tiles cover every pixel and stay inside the image."""
    seen = np.zeros(size, int)
    found = tiles(size, count, max(share, 1 / count + 0.1))
    for window in found:
        assert 0 <= window[0].start < window[0].stop <= size[0]
        assert 0 <= window[1].start < window[1].stop <= size[1]
        seen[window] += 1
    assert len(found) == count**2
    assert seen.min() >= 1


@pytest.mark.parametrize(("side", "count"), [(400, 3), (640, 3), (101, 4), (10, 7)])
def test_smallest_tiles_leave_no_gap(side, count):
    """Tiles of the smallest share leave no gap."""
    seen = np.zeros(side, int)
    for rows, _ in tiles((side, side), count, 1 / count):
        seen[rows] += 1
    assert seen.min() >= 1


def test_single_tile_is_whole_image():
    """A single tile is the whole image, whatever its share.

    The published code segments the top left corner only.
    """
    assert tiles((40, 60), 1, 400 / 512) == [(slice(0, 40), slice(0, 60))]


def test_tiles_match_published():
    """Tiles are those of the published code."""
    ours = [(r.start, r.stop, c.start, c.stop) for r, c in tiles((512, 512), 2, 400 / 512)]
    assert ours == naive.naive_patches(512, 512, 2, 400)


def test_uniform_merge_matches_published_mean():
    """A uniform merge is the published mean."""
    draw = torch.Generator().manual_seed(0)
    maps = torch.rand(4, 3, 20, 20, generator=draw)
    boxes = naive.naive_patches(32, 32, 2, 20)
    labels, mean = naive.naive_merge(list(maps), [torch.ones(3, dtype=torch.bool)] * 4, boxes, 32, 32)
    canvas = TileMerger(3, (32, 32), "uniform")
    for patch, (top, bottom, left, right) in zip(maps.numpy(), boxes, strict=True):
        canvas.add((slice(top, bottom), slice(left, right)), patch)
    soft = canvas.soft()
    np.testing.assert_allclose(soft, (mean / mean.sum(0)).numpy(), rtol=1e-5)
    assert np.array_equal(soft.argmax(0), labels.numpy())


@pytest.mark.parametrize("merge", ["tent", "uniform"])
def test_merge_independent_of_tile_order(merge):
    """The order of tiles does not matter."""
    draw = np.random.default_rng(0)
    crops = [(window, draw.random((2, 10, 10))) for window in tiles((40, 40), 3, 0.5)]
    results = []
    for order in (crops, crops[::-1]):
        canvas = TileMerger(2, (40, 40), merge)
        for window, evidence in order:
            canvas.add(window, evidence)
        results.append(canvas.soft())
    np.testing.assert_allclose(results[0], results[1], rtol=1e-6)


def test_tent_merge_favours_tile_centre():
    """A tent weight trusts the middle of a tile."""
    canvas = TileMerger(2, (10, 30), "tent")
    canvas.add((slice(0, 10), slice(0, 20)), np.stack([np.ones((10, 20)), np.zeros((10, 20))]))
    canvas.add((slice(0, 10), slice(10, 30)), np.stack([np.zeros((10, 20)), np.ones((10, 20))]))
    first = canvas.soft()[0, 5]
    assert first[9] == 1
    assert (np.diff(first[10:20]) < 0).all()
    assert first[20] == 0


def test_no_evidence_is_background():
    """Pixels without evidence are background."""
    canvas = TileMerger(3, (4, 4), "uniform")
    canvas.add((slice(0, 4), slice(0, 4)), np.zeros((3, 2, 2)))
    assert (canvas.soft()[0] == 1).all()
