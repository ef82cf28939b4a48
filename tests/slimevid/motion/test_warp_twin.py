"""Warping along a flow, against kornia's remap: a twin that shares no code."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kornia.geometry.transform import remap

from slimevid.motion.warp import reliability, sampling_grid, warp_soft


def kornia_remap(planes: np.ndarray, maps: tuple[np.ndarray, np.ndarray], padding: str) -> np.ndarray:
    """Return planes (P, h, w) sampled at pixel positions `maps`, bilinear."""
    x, y = (torch.from_numpy(m)[None] for m in maps)
    image = torch.from_numpy(planes)[None]
    return remap(image, x, y, mode="bilinear", padding_mode=padding, align_corners=True)[0].numpy()


def random_flow(size: tuple[int, int], pixels: float, seed: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(0, pixels, (*size, 2)).astype(np.float32)


@pytest.mark.parametrize("pixels", [0.3, 3.0, 30.0])
@pytest.mark.parametrize(("parts", "size"), [(2, (20, 24)), (5, (41, 33))])
def test_warp_equals_kornia_remap(parts: int, size: tuple[int, int], pixels: float) -> None:
    """Also where a flow of 30 pixels leaves the image and the border repeats."""
    soft = np.random.default_rng(1).dirichlet(np.ones(parts), size).transpose(2, 0, 1).astype(np.float32)
    maps = sampling_grid(random_flow(size, pixels, 2))
    assert np.abs(warp_soft(soft, maps) - kornia_remap(soft, maps, "border")).max() < 1e-4


def test_reliability_equals_formula_on_kornia_remap() -> None:
    """OpenCV 5 rounds positions to 1/32 pixel where channels are interleaved, and not in single planes."""
    size, tolerance = (31, 40), 1.0
    flow, back = random_flow(size, 2, 3), random_flow(size, 2, 4)
    x, y = sampling_grid(flow)
    planes, rounded = np.ascontiguousarray(back.transpose(2, 0, 1)), (np.round(x * 32) / 32, np.round(y * 32) / 32)
    returned = kornia_remap(planes, rounded, "zeros").transpose(1, 2, 0)
    error, length = (np.linalg.norm(v, axis=-1) for v in (flow + returned, flow))
    inside = (x >= 0) & (x <= size[1] - 1) & (y >= 0) & (y <= size[0] - 1)
    expected = np.exp(-((error / (tolerance + 0.05 * length)) ** 2)) * inside
    assert 0 < inside.mean() < 1
    assert np.abs(reliability(flow, back, (x, y), tolerance) - expected).max() < 1e-4
