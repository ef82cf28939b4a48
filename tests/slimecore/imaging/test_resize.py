"""Resizing with half-pixel centres."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from slimecore.imaging.resize import fit_short_side, resize_labels, resize_rgb, resize_soft

QUICK = settings(max_examples=40, deadline=None, derandomize=True)
RNG = np.random.default_rng(0)


def ramp(size: tuple[int, int]) -> np.ndarray:
    """Value = position of the pixel's centre as a share of the picture, down and across."""
    h, w = size
    y, x = np.meshgrid((np.arange(h) + 0.5) / h, (np.arange(w) + 0.5) / w, indexing="ij")
    return np.stack([y, x]).astype(np.float32)


SIDES = st.integers(4, 40)


@QUICK
@given(SIDES, SIDES, SIDES, SIDES)
def test_resize_keeps_positions(h: int, w: int, to_h: int, to_w: int) -> None:
    """Resizing moves nothing.

    A ramp stays the same ramp wherever the source has samples on both sides. Exactly so when enlarged. An area average
    of whole source pixels is off by an eighth of a pixel at most.
    """
    resized, expected = resize_soft(ramp((h, w)), (to_h, to_w)), ramp((to_h, to_w))
    inside = (
        (expected[0] * h >= 0.5)
        & (expected[0] * h <= h - 0.5)
        & (expected[1] * w >= 0.5)
        & (expected[1] * w <= w - 0.5)
    )
    off = np.abs(resized - expected)[:, inside] * np.array([[h], [w]])
    assert off.max() < (0.126 if to_h <= h and to_w <= w else 2e-3)
    assert np.abs(resized.mean((1, 2)) - 0.5).max() < 1e-4, "the centroid moved"


@QUICK
@given(SIDES, SIDES, st.integers(1, 4), st.integers(0, 99))
def test_labels_survive_enlarging_and_shrinking(h: int, w: int, factor: int, seed: int) -> None:
    """Labels enlarged and shrunk again are the same."""
    labels = np.random.default_rng(seed).integers(-1, 255, (h, w)).astype(np.int32)
    large = resize_labels(labels, (h * factor, w * factor))
    assert np.array_equal(large, np.kron(labels, np.ones((factor, factor), int)))
    assert np.array_equal(resize_labels(large, (h, w)), labels)
    assert large.dtype == labels.dtype


@QUICK
@given(SIDES, SIDES, SIDES, SIDES)
def test_resized_labels_taken_at_pixel_centre(h: int, w: int, to_h: int, to_w: int) -> None:
    """Resized labels are those under the pixel centre.

    Where a centre falls on the border of two source pixels, either label is right.
    """
    labels = np.arange(h * w).reshape(h, w)
    y, y_tie = np.divmod((2 * np.arange(to_h) + 1) * h, 2 * to_h)
    x, x_tie = np.divmod((2 * np.arange(to_w) + 1) * w, 2 * to_w)
    clear = (y_tie[:, None] > 0) & (x_tie[None] > 0)
    clear |= (to_h, to_w) == (h, w)
    assert np.array_equal(resize_labels(labels, (to_h, to_w))[clear], labels[y[:, None], x[None]][clear])


@QUICK
@given(st.integers(1, 7), SIDES, SIDES, SIDES, SIDES)
def test_soft_resize_keeps_sum(parts: int, h: int, w: int, to_h: int, to_w: int) -> None:
    """Soft maps keep their sum over parts."""
    soft = RNG.dirichlet(np.ones(parts), (h, w)).transpose(2, 0, 1).astype(np.float32)
    resized = resize_soft(soft, (to_h, to_w))
    assert resized.shape == (parts, to_h, to_w)
    assert np.abs(resized.sum(0) - 1).max() < 1e-5
    assert resized.min() >= 0


def test_resize_independent_of_plane_count() -> None:
    """Few and many planes are resized alike."""
    soft = RNG.random((6, 9, 13)).astype(np.float32)
    assert np.allclose(resize_soft(soft, (5, 20))[:2], resize_soft(soft[:2], (5, 20)), atol=1e-6)


def test_shrinking_averages_every_pixel() -> None:
    """Shrinking averages every pixel."""
    rgb = RNG.integers(0, 256, (8, 12, 3)).astype(np.float32)
    expected = rgb.reshape(4, 2, 4, 3, 3).mean((1, 3))
    assert np.allclose(resize_rgb(rgb, (4, 4)), expected, atol=1e-3)


@QUICK
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(32, 1080), st.sampled_from([1, 8, 64]))
def test_fitted_size_multiple_and_bounded(h: int, w: int, short: int, multiple: int) -> None:
    """The network size is a multiple of the grid step and never larger than requested."""
    fitted = fit_short_side((h, w), short, multiple)
    factor = min(1, short / min(h, w))
    for side, new in zip((h, w), fitted, strict=True):
        assert new % multiple == 0
        assert new >= multiple
        assert new == multiple or abs(new - side * factor) <= multiple / 2 + 1e-6
        assert new <= max(multiple, side + multiple / 2)
