"""The one resize rule.

Pixel centres lie at +0.5 everywhere: pixel x of a picture of width w maps to ``(x + 0.5) * W / w - 0.5`` in one of
width W. OpenCV's area, linear and *exact* nearest follow it; its plain nearest does not and is never used.
"""

from __future__ import annotations

import cv2
import numpy as np

from slimecore.array_types import Array

__all__ = ["fit_short_side", "resize_labels", "resize_rgb", "resize_soft"]


def fit_short_side(size: tuple[int, int], short_side: int, multiple: int, *, enlarge: bool = False) -> tuple[int, int]:
    """Network size ``(h, w)``: short side as asked, enlarged only if `enlarge`, both sides a multiple.

    Each side is rounded on its own, so the aspect ratio changes by at most ``multiple / 2`` pixels; positions map
    linearly and no padding exists anywhere.
    """
    factor = short_side / min(size)
    factor = factor if enlarge else min(1.0, factor)

    def fit(side: int) -> int:
        return max(multiple, round(side * factor / multiple) * multiple)

    return fit(size[0]), fit(size[1])


def resize_rgb(rgb: Array, size: tuple[int, int]) -> Array:
    """Resize (h, w, c) uint8 or float to `size` = ``(h, w)``: area average when shrinking, else linear."""
    return _resize(rgb, size)


def resize_soft(values: Array, size: tuple[int, int]) -> Array:
    """Resize soft maps (parts, h, w) float32 to `size`; sums over parts stay what they were."""
    if values.shape[1:] == size:
        return values
    out = np.zeros((len(values), *size), np.float32)
    for plane, wide in zip(values.astype(np.float32, copy=False), out, strict=True):  # interleaved is much slower
        cv2.resize(np.ascontiguousarray(plane), size[::-1], dst=wide, interpolation=_mode(plane.shape, size))
    return out


def resize_labels(labels: Array, size: tuple[int, int]) -> Array:
    """Resize an integer map (h, w) to `size` with honest half-pixel nearest; no new value appears."""
    if labels.shape == size:
        return labels
    wide = labels.astype(np.float32)  # exact for every value a mask can hold
    out = cv2.resize(wide, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(out).astype(labels.dtype)


def _resize(array: Array, size: tuple[int, int]) -> Array:
    h, w = array.shape[:2]
    if (h, w) == size:
        return array
    return np.asarray(cv2.resize(array, size[::-1], interpolation=_mode((h, w), size)))


def _mode(old: tuple[int, ...], new: tuple[int, int]) -> int:
    return cv2.INTER_AREA if new[0] <= old[0] and new[1] <= old[1] else cv2.INTER_LINEAR
