"""Region similarity J and boundary accuracy F (Perazzi et al., CVPR 2016).

Both follow the definitions of the official DAVIS evaluation, frame by frame, on boolean masks. F looks only at the box
around each object: outside it there is no boundary, so the figures are the same to the last digit.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError

__all__ = ["BOUND", "Outline", "boundary_f", "boundary_map", "outline_f", "region_j", "tolerance"]

Mask = npt.NDArray[np.bool_]
BOUND = 0.008  # share of the image diagonal within which a boundary counts as found


def _pair(prediction: npt.NDArray[Any], truth: npt.NDArray[Any], void: Mask | None) -> tuple[Mask, Mask]:
    shapes = {prediction.shape, truth.shape, prediction.shape if void is None else void.shape}
    if len(shapes) != 1 or prediction.ndim != 2:
        raise InputError(f"masks must be (h, w) and of one size, got {' and '.join(map(str, sorted(shapes)))}")
    a, b = prediction.astype(bool), truth.astype(bool)
    return (a, b) if void is None else (a & ~void, b & ~void)


def region_j(prediction: npt.NDArray[Any], truth: npt.NDArray[Any], void: Mask | None = None) -> float:
    """Intersection over union, 0..1; 1 when both are empty.

    Parameters
    ----------
    prediction, truth : (h, w) bool or int
        Nonzero = object.
    void : (h, w) bool, optional
        Pixels that count for neither.

    Raises
    ------
    InputError
        Sizes differ.
    """
    a, b = _pair(prediction, truth, void)
    union = int(np.count_nonzero(a | b))
    return 1.0 if union == 0 else int(np.count_nonzero(a & b)) / union


def boundary_map(mask: Mask) -> Mask:
    """One-pixel boundary, half a pixel towards the origin: a pixel differs from its right, lower or lower-right one.

    Parameters
    ----------
    mask : (h, w) bool

    Returns
    -------
    (h, w) bool
    """
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def tolerance(size: tuple[int, int], bound: float = BOUND) -> int:
    """Pixels within which a boundary counts as found: ``ceil(bound * diagonal)`` below 1, else `bound` itself."""
    return int(bound if bound >= 1 else math.ceil(bound * math.hypot(*size)))


class Outline:
    """Boundary of one mask, kept as the box around it.

    Parameters
    ----------
    mask : (h, w) bool

    Attributes
    ----------
    count : int
        Boundary pixels.
    """

    __slots__ = ("_edge", "_near", "_top_left", "count")

    def __init__(self, mask: Mask) -> None:
        x, y, w, h = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
        # The boundary lies one pixel towards the origin; one more row and column let the last ones see background.
        top, left = max(y - 1, 0), max(x - 1, 0)
        self._top_left = (top, left)
        self._edge = boundary_map(mask[top : y + h + 1, left : x + w + 1])
        self.count = int(np.count_nonzero(self._edge))
        self._near: dict[int, Mask] = {}

    def near(self, radius: int) -> Mask:
        """Pixels within `radius` of the boundary: its box, grown by `radius` on every side."""
        if radius not in self._near:
            self._near[radius] = _dilated(np.pad(self._edge.view(np.uint8), radius), radius).view(np.bool_)
        return self._near[radius]

    def found_by(self, other: Outline, radius: int) -> int:
        """Boundary pixels of this one that lie within `radius` of the other's boundary."""
        near = other.near(radius)
        inner, outer = [], []
        for axis in (0, 1):
            start = other._top_left[axis] - radius - self._top_left[axis]  # of the other's box, seen from this one
            low, high = max(start, 0), min(start + near.shape[axis], self._edge.shape[axis])
            if low >= high:
                return 0
            inner.append(slice(low, high))
            outer.append(slice(low - start, high - start))
        return int(np.count_nonzero(self._edge[tuple(inner)] & near[tuple(outer)]))


def outline_f(prediction: Outline, truth: Outline, radius: int) -> float:
    """Harmonic mean of boundary precision and recall, 0..1; 1 when neither has a boundary, 0 when only one has.

    Parameters
    ----------
    prediction, truth : Outline
        Of two masks of one size.
    radius : int
        Pixels within which a boundary counts as found.
    """
    if prediction.count == 0 or truth.count == 0:
        return 1.0 if prediction.count == truth.count else 0.0
    precision = prediction.found_by(truth, radius) / prediction.count
    recall = truth.found_by(prediction, radius) / truth.count
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def boundary_f(
    prediction: npt.NDArray[Any], truth: npt.NDArray[Any], bound: float = BOUND, void: Mask | None = None
) -> float:
    """Harmonic mean of boundary precision and recall, 0..1.

    Parameters
    ----------
    prediction, truth : (h, w) bool or int
    bound : float
        Tolerance: a share of the image diagonal below 1, else pixels.
    void : (h, w) bool, optional
        Pixels that are background in both.

    Returns
    -------
    float
        1 when neither mask has a boundary, 0 when only one has.

    Raises
    ------
    InputError
        Sizes differ.
    """
    a, b = _pair(prediction, truth, void)
    return outline_f(Outline(a), Outline(b), tolerance((a.shape[0], a.shape[1]), bound))


def _dilated(edge: npt.NDArray[np.uint8], radius: int) -> npt.NDArray[np.uint8]:
    """Dilate by the disk ``x**2 + y**2 <= radius**2``, the union of a few rectangles (exact, not an approximation).

    Widths grow and heights shrink from one rectangle to the next, so each needs only the difference to its neighbour:
    a sixth of the disk's work at radius 8, a tenth at 18.
    """
    reach = wide = edge
    for row, column in _steps(radius):
        wide = cv2.dilate(wide, row)
        reach = cv2.dilate(cv2.max(reach, wide), column)
    return np.asarray(reach)


@cache
def _steps(radius: int) -> tuple[tuple[npt.NDArray[np.uint8], npt.NDArray[np.uint8]], ...]:
    """Row and column that lead from each rectangle of the disk to the next, the narrowest first."""
    heights = {math.isqrt(radius**2 - y**2): y for y in range(radius + 1)}  # half width: its tallest row
    sides = sorted(heights.items())
    following = [*sides[1:], (0, 0)]
    before = [(0, 0), *sides]
    return tuple(
        (np.ones((1, 2 * (w - narrow) + 1), np.uint8), np.ones((2 * (h - low) + 1, 1), np.uint8))
        for (w, h), (narrow, _), (_, low) in zip(sides, before, following, strict=False)
    )
