"""Bring coarse soft labels to the picture's own edges."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slimecore.images import resize_rgb, resize_soft, undecided_box

__all__ = ["filter_radius", "guided", "refine"]

Array = npt.NDArray[Any]
_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))


def filter_radius(radius: int, size: tuple[int, int]) -> int:
    """Pixels of a picture of some size for a radius in pixels of a 480-line picture; 0 stays 0, else at least 1."""
    return max(1, round(radius * min(size) / 480)) if radius else 0


def refine(soft: Array, rgb: Array, radius: int, eps: float) -> Array:
    """Resize soft labels to the picture and filter them with the picture as guide (He et al., TPAMI 2013).

    Parameters
    ----------
    soft : (P, h, w) float32
        Summing to 1 over parts.
    rgb : (H, W, 3) uint8
    radius : int
        Window radius in pixels of the picture; 0 only resizes.
    eps : float
        Regularisation in squared intensity 0..1: larger follows edges less.

    Returns
    -------
    (P, H, W) float32
        0..1, summing to 1 over parts.
    """
    size = (int(rgb.shape[0]), int(rgb.shape[1]))
    full = resize_soft(soft, size)
    box = undecided_box(full, 2 * radius) if radius else None
    if box is None:
        return full
    full = full.copy() if full is soft else full
    guide = np.asarray(rgb[box], np.float32) / 255
    # Coefficients at a quarter of the radius lose nothing that can be seen, and cost a fraction (He and Sun 2015).
    step = max(1, min(2, radius // 2), radius // 4)
    # The filter is linear and keeps constants, so the background is what is left; edges overshoot a little.
    parts = guided(guide, full[1:, box[0], box[1]], radius, eps, step).clip(0, 1)
    total = np.maximum(parts.sum(0), 1)
    full[1:, box[0], box[1]] = parts / total
    full[0, box[0], box[1]] = 1 - parts.sum(0) / total
    return full


def guided(guide: Array, planes: Array, radius: int, eps: float, step: int = 1) -> Array:
    """Filter planes so that they follow the edges of a colour guide.

    Parameters
    ----------
    guide : (h, w, 3) float32
    planes : (n, h, w) float32
    radius : int
        The window is ``2 * radius + 1`` wide; beyond the border the picture is mirrored.
    eps : float
        Regularisation, in squared units of the guide.
    step : int
        Coefficients are computed on a grid this many times coarser, then interpolated.

    Returns
    -------
    (n, h, w) float32
    """
    h, w = guide.shape[:2]
    small = (max(1, -(-h // step)), max(1, -(-w // step)))
    reach = 2 * max(1, radius // step) + 1

    def mean(values: Array) -> Array:
        return np.asarray(cv2.boxFilter(values, -1, (reach, reach), borderType=cv2.BORDER_REFLECT_101))

    def wide(values: Array) -> Array:
        return np.asarray(cv2.resize(mean(values), (w, h), interpolation=cv2.INTER_LINEAR))

    image, channels = cv2.split(resize_rgb(guide, small)), cv2.split(guide)  # planes: strided pixels are slow
    means = [mean(channel) for channel in image]
    covariance = {(i, j): mean(image[i] * image[j]) - means[i] * means[j] for i, j in _PAIRS}
    inverse = _inverse(covariance, eps)
    filtered = np.empty_like(planes)
    for plane, out in zip(resize_soft(planes, small), filtered, strict=True):
        mean_plane = mean(plane)
        joint = [mean(image[i] * plane) - means[i] * mean_plane for i in range(3)]
        slope = [sum(inverse[min(i, j), max(i, j)] * joint[j] for j in range(3)) for i in range(3)]
        out[:] = wide(mean_plane - sum(slope[i] * means[i] for i in range(3)))
        for i in range(3):
            out += wide(slope[i]) * channels[i]
    return filtered


def _inverse(covariance: dict[tuple[int, int], Array], eps: float) -> dict[tuple[int, int], Array]:
    """Inverse of the symmetric 3 x 3 matrix ``covariance + eps`` at every pixel, by its adjugate."""
    a, b, c = covariance[0, 0] + eps, covariance[0, 1], covariance[0, 2]
    d, e, f = covariance[1, 1] + eps, covariance[1, 2], covariance[2, 2] + eps
    adjugate = (d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b)
    determinant = np.maximum(a * adjugate[0] + b * adjugate[1] + c * adjugate[2], eps**3)
    return {pair: entry / determinant for pair, entry in zip(_PAIRS, adjugate, strict=True)}
