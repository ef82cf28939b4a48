"""Bring coarse soft labels to the picture's own edges."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box, union_box
from slimecore.imaging.resize import resize_soft

__all__ = ["filter_radius", "filter_support", "guided", "guided_filter_inplace", "refine"]

_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
_SLIGHT = 0.2  # a part believed less than this, or surer than all but this, has no border to be moved


def filter_radius(radius: int, size: tuple[int, int]) -> int:
    """Pixels of a picture of some size for a radius in pixels of a 480-line picture; 0 stays 0, else at least 1."""
    return max(1, round(radius * min(size) / 480)) if radius else 0


def filter_support(radius: int) -> int:
    """Side, in pixels, of the square cells that :func:`refine` takes a picture in; it sees a cell beyond a border."""
    step = _step(radius)
    return -(-2 * radius // step) * step


def _step(radius: int) -> int:
    """Coefficients on a grid half as wide as the radius lose nothing that we could measure (He and Sun 2015)."""
    return max(1, radius // 2)


def refine(soft: Array, rgb: Array, radius: int, eps: float) -> Array:
    """Resize soft labels to the picture and filter them with the picture as guide (He et al., TPAMI 2013).

    Every part is filtered around its own border only, so the work grows with the length of all borders.

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
    full = resize_soft(soft, (int(rgb.shape[0]), int(rgb.shape[1])))
    full = full.copy() if full is soft else full
    guided_filter_inplace(full, rgb, radius, eps)
    return full


def guided_filter_inplace(full: Array, rgb: Array, radius: int, eps: float) -> None:
    """:func:`refine` soft labels (P, H, W) float32 that have the picture's size already, in place."""
    places = [_edges(plane, filter_support(radius)) if radius else [] for plane in full[1:]]
    around = union_box(box for boxes in places for box in boxes)
    if around is None:
        return
    guide = _Guide([channel * np.float32(1 / 255) for channel in cv2.split(rgb[around])], radius, eps, _step(radius))
    top, left = around[0].start, around[1].start
    ground = full[0]
    for plane, boxes in zip(full[1:], places, strict=True):
        for box in boxes:
            here = slice(box[0].start - top, box[0].stop - top), slice(box[1].start - left, box[1].stop - left)
            found = guide.filtered(plane[box], here).clip(0, 1)
            # The filter is linear and keeps constants: the background is what is left.
            ground[box] += plane[box] - found
            plane[box] = found
    over = np.flatnonzero(ground < 0)  # edges overshoot a little
    share = 1 / (1 - ground.ravel()[over])
    for plane in full[1:]:
        plane.ravel()[over] *= share
    ground.ravel()[over] = 0


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
    made = _Guide(cv2.split(guide), radius, eps, step)
    return np.stack([made.filtered(plane, (slice(0, len(guide)), slice(0, guide.shape[1]))) for plane in planes])


class _Guide:
    """The channels of a picture, each (h, w) float32, and all of the filter that depends on them alone."""

    def __init__(self, channels: Sequence[Array], radius: int, eps: float, step: int) -> None:
        self._step = step
        self._window = (2 * max(1, radius // step) + 1,) * 2
        self._channels = channels
        self._image = [self._coarse(channel) for channel in self._channels]
        self._means = [self._mean(channel) for channel in self._image]
        image, means = self._image, self._means
        covariance = {(i, j): self._mean(image[i] * image[j]) - means[i] * means[j] for i, j in _PAIRS}
        self._inverse = _inverse(covariance, eps)

    def _coarse(self, plane: Array) -> Array:
        """Means of cells, as many pixels wide as a step; beyond the border the last pixels repeat."""
        h, w = plane.shape
        if self._step == 1:
            return plane
        size = -(-h // self._step), -(-w // self._step)
        beyond = size[0] * self._step - h, size[1] * self._step - w
        if any(beyond):
            plane = cv2.copyMakeBorder(plane, 0, beyond[0], 0, beyond[1], cv2.BORDER_REPLICATE)
        return np.asarray(cv2.resize(plane, size[::-1], interpolation=cv2.INTER_AREA))

    def _mean(self, values: Array) -> Array:
        return np.asarray(cv2.boxFilter(values, -1, self._window, borderType=cv2.BORDER_REFLECT_101))

    def filtered(self, plane: Array, box: Box) -> Array:
        """Filter what a plane (h, w) float32 says in a box of the guide; the box starts at a multiple of the step."""
        h, w = plane.shape
        small = self._coarse(plane)
        top, left = (side.start // self._step for side in box)
        at = slice(top, top + small.shape[0]), slice(left, left + small.shape[1])
        image, means = [c[at] for c in self._image], [c[at] for c in self._means]
        mean, *joint = cv2.split(self._mean(cv2.merge([small, *(channel * small for channel in image)])))
        for i in range(3):
            joint[i] -= means[i] * mean
        offset, slopes = mean, []
        for i in range(3):
            slope = sum(self._inverse[min(i, j), max(i, j)][at] * joint[j] for j in range(3))
            offset -= slope * means[i]
            slopes.append(slope)
        offset, *slopes = cv2.split(self._mean(cv2.merge([offset, *slopes])))
        found = self._wide(offset, (h, w))
        for slope, channel in zip(slopes, self._channels, strict=True):
            found += self._wide(slope, (h, w)) * channel[box]
        return found

    def _wide(self, values: Array, size: tuple[int, int]) -> Array:
        h, w = values.shape
        wide = cv2.resize(values, (w * self._step, h * self._step), interpolation=cv2.INTER_LINEAR)
        return np.asarray(wide)[: size[0], : size[1]]


def _edges(plane: Array, cell: int) -> list[Box]:
    """Boxes, apart from each other, that hold all borders of a part (h, w), and at least a cell's side around them.

    They are made of square cells of so many pixels.
    """
    square = np.ones((3, 3), np.uint8)
    somewhere = cv2.dilate((_of_cells(np.maximum, plane, cell) > _SLIGHT).astype(np.uint8), square)
    everywhere = cv2.erode((_of_cells(np.minimum, plane, cell) > 1 - _SLIGHT).astype(np.uint8), square)
    return [
        (slice(top * cell, (top + height) * cell), slice(left * cell, (left + width) * cell))
        for left, top, width, height in _rectangles(somewhere & (1 - everywhere))
    ]


def _of_cells(extreme: np.ufunc, plane: Array, cell: int) -> Array:
    """Least or largest value in every cell of a plane, those at its end being smaller."""
    whole = len(plane) // cell * cell
    lines = extreme.reduce(plane[:whole].reshape(-1, cell, plane.shape[1]), 1)
    if whole < len(plane):
        lines = np.concatenate([lines, extreme.reduce(plane[whole:], 0)[None]])
    return np.asarray(extreme.reduceat(lines, range(0, plane.shape[1], cell), 1))


def _rectangles(cells: Array) -> list[list[int]]:
    """Left, top, width, height of rectangles, apart from each other, that hold all cells (h, w) uint8 of 1."""
    while True:
        pieces: list[list[int]] = cv2.connectedComponentsWithStats(cells)[2][1:, :4].tolist()
        filled = np.zeros_like(cells)
        for left, top, width, height in pieces:
            filled[top : top + height, left : left + width] = 1
        if np.array_equal(filled, cells):
            return pieces
        cells = filled


def _inverse(covariance: dict[tuple[int, int], Array], eps: float) -> dict[tuple[int, int], Array]:
    """Inverse of the symmetric 3 x 3 matrix ``covariance + eps`` at every pixel, by its adjugate."""
    a, b, c = covariance[0, 0] + eps, covariance[0, 1], covariance[0, 2]
    d, e, f = covariance[1, 1] + eps, covariance[1, 2], covariance[2, 2] + eps
    adjugate = (d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b)
    determinant = np.maximum(a * adjugate[0] + b * adjugate[1] + c * adjugate[2], eps**3)
    return {pair: entry / determinant for pair, entry in zip(_PAIRS, adjugate, strict=True)}
