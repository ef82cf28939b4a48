"""Silhouettes: anti-aliased masks of leaves and limbs in a square patch, and dome-like normals for them."""

import cv2
import numpy as np

from training.textures import power_noise

__all__ = ["capsule", "dome_normals", "random_silhouette"]

_SHIFT = 4  # cv2 draws with 1/16 pixel


def _fill(points: np.ndarray, size: int) -> np.ndarray:
    """Fill polygon ``points`` (n, 2), xy in [-1, 1], into a (size, size) uint8 mask."""
    pixels = (points + 1.0) * (size / 2) - 0.5
    mask = np.zeros((size, size), np.uint8)
    fixed = np.round(pixels * 2**_SHIFT).astype(np.int32)
    cv2.fillPoly(mask, [fixed], 255, cv2.LINE_AA, _SHIFT)
    return _rimless(mask)


def _rimless(mask: np.ndarray) -> np.ndarray:
    mask[[0, -1]] = 0
    mask[:, [0, -1]] = 0
    return mask


def _fit(points: np.ndarray, reach: float = 0.94) -> np.ndarray:
    points = points - (points.max(0) + points.min(0)) / 2
    return points / np.abs(points).max() * reach


def _blob(rng: np.random.Generator, size: int) -> np.ndarray:
    theta = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    radius = np.ones_like(theta)
    for k in range(1, 7):
        radius += rng.normal(0, 0.42 / k) * np.cos(k * theta + rng.uniform(0, 2 * np.pi))
    radius = np.maximum(radius, 0.12)
    points = np.stack([np.cos(theta), np.sin(theta) * rng.uniform(0.4, 1.0)], 1) * radius[:, None]
    return _fill(_fit(points), size)


def _polygon(rng: np.random.Generator, size: int) -> np.ndarray:
    count = int(rng.integers(3, 10))
    theta = np.sort(rng.uniform(0, 2 * np.pi, count)) if rng.random() < 0.5 else np.arange(count) * 2 * np.pi / count
    radius = rng.uniform(0.45, 1.0, count) if rng.random() < 0.6 else np.ones(count)
    points = np.stack([np.cos(theta), np.sin(theta) * rng.uniform(0.4, 1.0)], 1) * radius[:, None]
    return _fill(_fit(points), size)


def _ellipse(rng: np.random.Generator, size: int) -> np.ndarray:
    theta = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return _fill(_fit(np.stack([np.cos(theta), np.sin(theta) * rng.uniform(0.3, 1.0)], 1)), size)


def _ring(rng: np.random.Generator, size: int) -> np.ndarray:
    mask = _ellipse(rng, size)
    inner = rng.uniform(0.35, 0.7)
    small = max(4, int(size * inner))
    hole = cv2.resize(mask, (small, small), interpolation=cv2.INTER_AREA)
    start = (size - small) // 2
    mask[start : start + small, start : start + small] -= np.minimum(
        hole, mask[start : start + small, start : start + small]
    )
    return mask


def _noise_blob(rng: np.random.Generator, size: int) -> np.ndarray:
    line = np.linspace(-1, 1, size, dtype=np.float32)
    fall = 1.0 - (line[None, :] ** 2 + line[:, None] ** 2)
    field = fall * 1.6 - 0.45 + 0.35 * power_noise(rng, size, rng.uniform(1.4, 2.2))
    mask = (np.clip(field * 12 + 0.5, 0, 1) * 255).astype(np.uint8)
    count, labels, stats, _ = cv2.connectedComponentsWithStats((mask > 127).astype(np.uint8))
    if count > 2:
        mask[labels != 1 + int(stats[1:, cv2.CC_STAT_AREA].argmax())] = 0
    return _rimless(mask)


_KINDS = (_blob, _polygon, _ellipse, _ring, _noise_blob)
_SHARES = (0.36, 0.2, 0.16, 0.06, 0.22)


def random_silhouette(rng: np.random.Generator, size: int) -> np.ndarray:
    """Draw a leaf of a random kind: Fourier blob, polygon, ellipse, ring or noise blob.

    Returns
    -------
    (size, size) uint8
        255 inside, 0 outside, anti-aliased rim; the border of the patch is 0.
    """
    return _KINDS[int(rng.choice(len(_KINDS), p=_SHARES))](rng, size)


def capsule(size: int, width: float, taper: float) -> np.ndarray:
    """Draw a limb lying along x: a rounded bar from x = -1 to 1.

    Parameters
    ----------
    size : int
    width : float
        Half width at the root (x = -1), in (0, 1].
    taper : float
        Half width at the tip divided by that at the root.

    Returns
    -------
    (size, size) uint8
    """
    theta = np.linspace(-np.pi / 2, np.pi / 2, 16)
    tip = width * taper
    right = np.stack([0.94 - tip * 0.5 + tip * 0.5 * np.cos(theta), tip * np.sin(theta)], 1)
    left = np.stack([-0.94 + width * 0.5 - width * 0.5 * np.cos(theta), -width * np.sin(theta)], 1)
    return _fill(np.concatenate([right, left]), size)


def dome_normals(mask: np.ndarray, bulge: float) -> np.ndarray:
    """Compute normals of a rounded surface over a silhouette.

    Parameters
    ----------
    mask : (size, size) uint8
    bulge : float
        0 is flat, 1 a half ball.

    Returns
    -------
    (size, size, 2) float32
        x and y of the unit normal; z is the rest, towards the viewer.
    """
    distance = cv2.distanceTransform((mask > 127).astype(np.uint8), cv2.DIST_L2, 3)
    deepest = max(float(distance.max()), 1.0)
    height = np.sqrt(np.clip(1.0 - (1.0 - distance / deepest) ** 2, 0, 1)) * deepest * bulge
    height = cv2.GaussianBlur(height, (0, 0), max(1.0, 0.06 * deepest))
    dx, dy = (
        cv2.Sobel(height, cv2.CV_32F, 1, 0, scale=0.125),
        cv2.Sobel(height, cv2.CV_32F, 0, 1, scale=0.125),
    )
    length = np.sqrt(dx**2 + dy**2 + 1.0)
    return np.stack([-dx / length, -dy / length], axis=-1).astype(np.float32)
