"""The guided filter against independent implementations."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from slimecore.imaging.guided_filter import filter_radius, filter_support, guided, refine

RNG = np.random.default_rng(0)


def soft_of(parts: int, size: tuple[int, int]) -> np.ndarray:
    return RNG.dirichlet(np.ones(parts), size).transpose(2, 0, 1).astype(np.float32)


@pytest.mark.parametrize("radius", [0, 1, 5])
@pytest.mark.parametrize("parts", [2, 6])
def test_filtered_labels_sum_to_one(radius: int, parts: int) -> None:
    """Filtered labels sum to 1."""
    rgb = RNG.integers(0, 256, (60, 81, 3)).astype(np.uint8)
    full = refine(soft_of(parts, (15, 20)), rgb, radius, 1e-4)
    assert full.shape == (parts, 60, 81)
    assert np.abs(full.sum(0) - 1).max() < 1e-3


@pytest.mark.parametrize("radius", [1, 5])
def test_constant_stays_constant(radius: int) -> None:
    """A constant stays constant."""
    rgb = RNG.integers(0, 256, (60, 80, 3)).astype(np.uint8)
    soft = np.repeat(np.array([0.2, 0.8], np.float32), 15 * 20).reshape(2, 15, 20)
    full = refine(soft, rgb, radius, 1e-4)
    assert np.abs(full[0] - 0.2).max() < 1e-3
    assert np.abs(full[1] - 0.8).max() < 1e-3


def test_radius_zero_only_resizes() -> None:
    """A radius of 0 only resizes."""
    soft = soft_of(2, (20, 24))
    assert np.array_equal(refine(soft, np.zeros((20, 24, 3), np.uint8), 0, 1e-4), soft)


def test_blurred_edge_moves_to_image_edge() -> None:
    """A blurred edge moves to the edge of the image.

    The soft boundary lies 4 px beside the image's own. The filter moves it there, and makes it steeper.
    """
    h, w, edge = 240, 320, 160
    rgb = np.full((h, w, 3), 40, np.uint8)
    rgb[:, edge:] = 200
    across = np.clip((np.arange(w) + 0.5 - (edge + 4)) / 24 + 0.5, 0, 1).astype(np.float32)
    soft = np.broadcast_to(np.stack([1 - across, across])[:, None], (2, h, w))
    middle = refine(np.ascontiguousarray(soft), rgb, 16, 1e-4)[1, h // 2]
    assert across[edge - 1] > 0.25
    assert int((middle > 0.5).argmax()) == edge
    step = middle[edge] - middle[edge - 1]
    assert step > 5 * np.diff(across).max()


def test_filter_matches_kornia() -> None:
    """The filter matches kornia's, with coefficients at full size.

    kornia shares no code with it.
    """
    from kornia.filters import guided_blur

    rng = np.random.default_rng(1)
    guide, planes = rng.random((40, 50, 3)).astype(np.float32), rng.random((3, 40, 50)).astype(np.float32)
    image, source = torch.from_numpy(guide).permute(2, 0, 1)[None], torch.from_numpy(planes)[None]
    expected = guided_blur(image, source, 7, 1e-2)[0].numpy()
    assert np.allclose(guided(guide, planes, 3, 1e-2), expected, atol=1e-4)


def test_coarse_coefficients_close_on_smooth_images() -> None:
    """Coarser coefficients stay close on smooth images."""
    y, x = np.mgrid[:80, :90].astype(np.float32) / 80
    guide = np.stack([x, y, np.sin(3 * x * y)], -1)
    planes = (1 / (1 + np.exp(-20 * (x - 0.5))))[None]
    assert np.abs(guided(guide, planes, 8, 1e-4, 2) - guided(guide, planes, 8, 1e-4)).max() < 0.05


def blobs(count: int, size: tuple[int, int], seed: int) -> np.ndarray:
    """Soft labels (count + 1, h, w) of discs, of which a faint trace lies everywhere."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[: size[0], : size[1]]
    centres = rng.uniform(0, 1, (count, 2)) * size
    logits = np.stack([(12 - np.hypot(y - cy, x - cx)) / 3 for cy, cx in centres])
    logits = np.concatenate([np.zeros((1, *size)), np.maximum(logits, -3)]) + rng.normal(0, 0.05, (count + 1, *size))
    soft = np.exp(logits) / np.exp(logits).sum(0)
    return soft.astype(np.float32)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(("parts", "size", "radius"), [(1, (97, 131), 3), (4, (160, 203), 5), (7, (240, 200), 8)])
def test_boundaries_match_dense_filtering(parts, size, radius, seed) -> None:
    """Boundaries match dense filtering.

    The naive implementation filters every plane whole, and divides by the sum.
    """
    soft = blobs(parts, size, seed)
    rgb = cv2.GaussianBlur(np.random.default_rng(seed).integers(0, 256, (*size, 3)).astype(np.uint8), (0, 0), 4)
    dense = guided(rgb.astype(np.float32) / 255, soft[1:], radius, 1e-2, max(1, radius // 2)).clip(0, 1)
    dense = np.concatenate([1 - dense.sum(0, keepdims=True).clip(0, 1), dense / np.maximum(dense.sum(0), 1)])
    found = refine(soft, rgb, radius, 1e-2)
    border = (soft[1:] > 0.2) & (soft[1:] < 0.8)
    assert border.any((1, 2)).all()
    apart = np.abs(found - dense)[1:][border]
    assert apart.max() < 1e-3
    second, first = np.sort(dense, 0)[-2:]  # faint traces are left as they are, so near-ties may fall either way
    assert (found.argmax(0) == dense.argmax(0))[first - second > 0.1].all()
    assert np.abs(found.sum(0) - 1).max() < 1e-5
    assert found.min() >= 0


@pytest.mark.parametrize(("most", "moves"), [(0.15, False), (0.25, True), (0.75, True)])
def test_only_possible_labels_filtered(most: float, moves: bool) -> None:
    """Only pixels that could become a label are filtered."""
    soft = np.zeros((2, 120, 160), np.float32)
    cv2.circle(soft[1], (70, 60), 15, most, -1)
    soft[0] = 1 - soft[1]
    rgb = np.random.default_rng(2).integers(0, 256, (120, 160, 3)).astype(np.uint8)
    assert (np.abs(refine(soft, rgb, 4, 1e-4) - soft).max() > 0.02) == moves


def test_hard_boundary_between_cells_moves() -> None:
    """A hard boundary between two cells moves, too."""
    cell = filter_support(8)
    soft = np.zeros((2, 4 * cell, 6 * cell), np.float32)
    soft[1, :, 2 * cell :] = 1
    soft[0] = 1 - soft[1]
    rgb = np.full((*soft.shape[1:], 3), 40, np.uint8)
    rgb[:, 2 * cell + 4 :] = 200
    found = refine(soft, rgb, 8, 1e-4)
    assert found[1, :, 2 * cell].max() < 0.9


def test_filter_leaves_input_unchanged() -> None:
    """The filter leaves its input unchanged."""
    soft = soft_of(2, (40, 50))
    before = soft.copy()
    rgb = RNG.integers(0, 256, (40, 50, 3)).astype(np.uint8)
    assert not np.array_equal(refine(soft, rgb, 3, 1e-4), soft)
    assert np.array_equal(soft, before)


def test_filter_radius_scales_from_480_lines():
    """The filter's radius is given for an image of 480 lines."""
    assert [filter_radius(8, (480, 854)), filter_radius(8, (1080, 720)), filter_radius(8, (20, 30))] == [8, 12, 1]
    assert filter_radius(0, (480, 854)) == 0
