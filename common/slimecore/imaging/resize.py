"""Resize pictures, soft labels and label maps with half-pixel centres.

Pixel x of a picture of width w maps to ``(x + 0.5) * W / w - 0.5`` at width W. OpenCV's area, linear and *exact*
nearest interpolation follow this rule. Its plain nearest interpolation does not, and is never used.
"""

from __future__ import annotations

import cv2
import numpy as np

from slimecore.array_types import Array

__all__ = ["fit_short_side", "resize_labels", "resize_rgb", "resize_soft"]


def fit_short_side(size: tuple[int, int], short_side: int, multiple: int, *, enlarge: bool = False) -> tuple[int, int]:
    """Compute the network size for a picture, both sides a multiple of `multiple`.

    Each side is rounded on its own, so it changes by at most ``multiple / 2`` pixels, and positions map linearly
    without padding.

    Parameters
    ----------
    size : (int, int)
        ``(h, w)`` of the picture in pixels.
    short_side : int
        Desired short side in pixels.
    multiple : int
        Stride of the network in pixels.
    enlarge : bool
        Enlarge pictures with a smaller short side too.

    Returns
    -------
    (int, int)
        ``(h, w)`` in pixels, each at least `multiple`.
    """
    factor = short_side / min(size)
    factor = factor if enlarge else min(1.0, factor)

    def fit(side: int) -> int:
        return max(multiple, round(side * factor / multiple) * multiple)

    return fit(size[0]), fit(size[1])


def resize_rgb(rgb: Array, size: tuple[int, int]) -> Array:
    """Resize a (h, w, c) uint8 or float picture to `size` ``(h, w)``: area average when shrinking, else linear."""
    return _resize(rgb, size)


def resize_soft(values: Array, size: tuple[int, int]) -> Array:
    """Resize soft labels (P, h, w) float32 to `size` ``(h, w)``. Sums over parts are kept."""
    if values.shape[1:] == size:
        return values
    out = np.zeros((len(values), *size), np.float32)
    # plane by plane, because OpenCV is much slower on interleaved channels
    for plane, resized in zip(values.astype(np.float32, copy=False), out, strict=True):
        cv2.resize(
            np.ascontiguousarray(plane), size[::-1], dst=resized, interpolation=_interpolation(plane.shape, size)
        )
    return out


def resize_labels(labels: Array, size: tuple[int, int]) -> Array:
    """Resize a (h, w) int label map to `size` ``(h, w)`` by exact nearest interpolation. No new value appears."""
    if labels.shape == size:
        return labels
    values = labels.astype(np.float32)  # exact for every value of a mask
    out = cv2.resize(values, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(out).astype(labels.dtype)


def _resize(array: Array, size: tuple[int, int]) -> Array:
    h, w = array.shape[:2]
    if (h, w) == size:
        return array
    return np.asarray(cv2.resize(array, size[::-1], interpolation=_interpolation((h, w), size)))


def _interpolation(old: tuple[int, ...], new: tuple[int, int]) -> int:
    return cv2.INTER_AREA if new[0] <= old[0] and new[1] <= old[1] else cv2.INTER_LINEAR
