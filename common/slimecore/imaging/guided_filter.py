"""Align coarse soft labels to the edges of the picture with the guided filter.

Sources: He, Sun and Tang, Guided Image Filtering, TPAMI 2013 (colour guide), and He and Sun, Fast Guided Filter, 2015
(coefficients on a coarse grid).
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box, union_box
from slimecore.imaging.resize import resize_soft

__all__ = ["filter_radius", "filter_support", "guided", "guided_filter_inplace", "refine"]

_CHANNEL_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))
_BORDER_PROBABILITY = 0.2  # below it or above 1 minus it, a part has no border (docs/adr/0029)


def filter_radius(radius: int, size: tuple[int, int]) -> int:
    """Scale a radius in pixels of a 480-line picture to a picture of `size` ``(h, w)``: at least 1, but 0 stays 0."""
    return max(1, round(radius * min(size) / 480)) if radius else 0


def filter_support(radius: int) -> int:
    """Return the side in pixels of the square cells that :func:`refine` divides a picture into.

    Every border is filtered with a margin of at least a cell.
    """
    step = _grid_step(radius)
    return -(-2 * radius // step) * step


def _grid_step(radius: int) -> int:
    """Return the grid step of the coefficients in pixels: half the radius, without measurable loss (docs/adr/0029)."""
    return max(1, radius // 2)


def refine(soft: Array, rgb: Array, radius: int, eps: float) -> Array:
    """Resize soft labels to the picture and filter them with the picture as guide (He et al., TPAMI 2013).

    Every part is filtered around its own border only, so the work grows with the length of all borders.

    Parameters
    ----------
    soft : (P, h, w) float32
        Probabilities summing to 1 over parts.
    rgb : (H, W, 3) uint8
    radius : int
        Window radius in pixels of the picture; 0 only resizes.
    eps : float
        Regularisation in squared intensity, 0..1. A larger value follows edges less.

    Returns
    -------
    (P, H, W) float32
        Probabilities, 0..1, summing to 1 over parts.
    """
    full = resize_soft(soft, (int(rgb.shape[0]), int(rgb.shape[1])))
    full = full.copy() if full is soft else full
    guided_filter_inplace(full, rgb, radius, eps)
    return full


def guided_filter_inplace(full: Array, rgb: Array, radius: int, eps: float) -> None:
    """Filter soft labels of the size of the picture in place, as :func:`refine` does.

    Parameters
    ----------
    full : (P, H, W) float32
        Probabilities summing to 1 over parts. Overwritten.
    rgb : (H, W, 3) uint8
    radius : int
        Window radius in pixels. 0 changes nothing.
    eps : float
        Regularisation in squared intensity, 0..1.
    """
    boxes_of_part = [_border_boxes(plane, filter_support(radius)) if radius else [] for plane in full[1:]]
    region = union_box(box for boxes in boxes_of_part for box in boxes)
    if region is None:
        return
    guide = _Guide(
        [channel * np.float32(1 / 255) for channel in cv2.split(rgb[region])], radius, eps, _grid_step(radius)
    )
    top, left = region[0].start, region[1].start
    background = full[0]
    for plane, boxes in zip(full[1:], boxes_of_part, strict=True):
        for box in boxes:
            in_region = slice(box[0].start - top, box[0].stop - top), slice(box[1].start - left, box[1].stop - left)
            filtered = guide.filtered(plane[box], in_region).clip(0, 1)
            # The filter is linear and keeps constants, so the background is the remainder.
            background[box] += plane[box] - filtered
            plane[box] = filtered
    negative = np.flatnonzero(background < 0)  # the filter overshoots slightly at edges
    scale = 1 / (1 - background.ravel()[negative])
    for plane in full[1:]:
        plane.ravel()[negative] *= scale
    background.ravel()[negative] = 0


def guided(guide: Array, planes: Array, radius: int, eps: float, step: int = 1) -> Array:
    """Filter planes so that they follow the edges of a colour guide (He et al., TPAMI 2013).

    Parameters
    ----------
    guide : (h, w, 3) float32
    planes : (n, h, w) float32
    radius : int
        The window is ``2 * radius + 1`` pixels wide. Beyond the border the picture is mirrored.
    eps : float
        Regularisation, in squared units of the guide.
    step : int
        Coefficients are computed on a grid coarser by this factor, then interpolated.

    Returns
    -------
    (n, h, w) float32
    """
    statistics = _Guide(cv2.split(guide), radius, eps, step)
    return np.stack([statistics.filtered(plane, (slice(0, len(guide)), slice(0, guide.shape[1]))) for plane in planes])


class _Guide:
    """Channels of the guide, each (h, w) float32, and the filter terms that depend on the guide alone."""

    def __init__(self, channels: Sequence[Array], radius: int, eps: float, step: int) -> None:
        self._step = step
        self._window = (2 * max(1, radius // step) + 1,) * 2
        self._channels = channels
        self._image = [self._cell_means(channel) for channel in self._channels]
        self._means = [self._mean(channel) for channel in self._image]
        image, means = self._image, self._means
        covariance = {(i, j): self._mean(image[i] * image[j]) - means[i] * means[j] for i, j in _CHANNEL_PAIRS}
        self._inverse = _inverse(covariance, eps)

    def _cell_means(self, plane: Array) -> Array:
        """Average a (h, w) plane over square cells of a step. Beyond the border the last pixels repeat."""
        h, w = plane.shape
        if self._step == 1:
            return plane
        size = -(-h // self._step), -(-w // self._step)
        padding = size[0] * self._step - h, size[1] * self._step - w
        if any(padding):
            plane = cv2.copyMakeBorder(plane, 0, padding[0], 0, padding[1], cv2.BORDER_REPLICATE)
        return np.asarray(cv2.resize(plane, size[::-1], interpolation=cv2.INTER_AREA))

    def _mean(self, values: Array) -> Array:
        """Average over the filter window."""
        return np.asarray(cv2.boxFilter(values, -1, self._window, borderType=cv2.BORDER_REFLECT_101))

    def filtered(self, plane: Array, box: Box) -> Array:
        """Filter a plane (h, w) float32 that covers a box of the guide.

        The box starts at a multiple of the step. Slopes and offsets are those of the colour filter of He et al. (TPAMI
        2013).
        """
        h, w = plane.shape
        coarse = self._cell_means(plane)
        top, left = (side.start // self._step for side in box)
        cells = slice(top, top + coarse.shape[0]), slice(left, left + coarse.shape[1])
        image, means = [c[cells] for c in self._image], [c[cells] for c in self._means]
        mean, *covariance = cv2.split(self._mean(cv2.merge([coarse, *(channel * coarse for channel in image)])))
        for i in range(3):
            covariance[i] -= means[i] * mean
        offset, slopes = mean, []
        for i in range(3):
            slope = sum(self._inverse[min(i, j), max(i, j)][cells] * covariance[j] for j in range(3))
            offset -= slope * means[i]
            slopes.append(slope)
        offset, *slopes = cv2.split(self._mean(cv2.merge([offset, *slopes])))
        filtered = self._upsampled(offset, (h, w))
        for slope, channel in zip(slopes, self._channels, strict=True):
            filtered += self._upsampled(slope, (h, w)) * channel[box]
        return filtered

    def _upsampled(self, values: Array, size: tuple[int, int]) -> Array:
        """Interpolate coefficients of the grid to pixels, cropped to `size`."""
        h, w = values.shape
        pixels = cv2.resize(values, (w * self._step, h * self._step), interpolation=cv2.INTER_LINEAR)
        return np.asarray(pixels)[: size[0], : size[1]]


def _border_boxes(plane: Array, cell: int) -> list[Box]:
    """Return disjoint boxes that hold all borders of a part, with a margin of at least a cell.

    Parameters
    ----------
    plane : (h, w) float32
        Probability of the part, 0..1.
    cell : int
        Side of the square cells that form the boxes, pixels.
    """
    square = np.ones((3, 3), np.uint8)
    near_part = cv2.dilate((_cell_extremes(np.maximum, plane, cell) > _BORDER_PROBABILITY).astype(np.uint8), square)
    interior = cv2.erode((_cell_extremes(np.minimum, plane, cell) > 1 - _BORDER_PROBABILITY).astype(np.uint8), square)
    return [
        (slice(top * cell, (top + height) * cell), slice(left * cell, (left + width) * cell))
        for left, top, width, height in _disjoint_rectangles(near_part & (1 - interior))
    ]


def _cell_extremes(extreme: np.ufunc, plane: Array, cell: int) -> Array:
    """Return the minimum or maximum of a (h, w) plane in every square cell. The last cells may be smaller."""
    complete = len(plane) // cell * cell
    rows = extreme.reduce(plane[:complete].reshape(-1, cell, plane.shape[1]), 1)
    if complete < len(plane):
        rows = np.concatenate([rows, extreme.reduce(plane[complete:], 0)[None]])
    return np.asarray(extreme.reduceat(rows, range(0, plane.shape[1], cell), 1))


def _disjoint_rectangles(cells: Array) -> list[list[int]]:
    """Return left, top, width and height of disjoint rectangles that cover the nonzero cells of a (h, w) uint8 map."""
    while True:
        rectangles: list[list[int]] = cv2.connectedComponentsWithStats(cells)[2][1:, :4].tolist()
        covered = np.zeros_like(cells)
        for left, top, width, height in rectangles:
            covered[top : top + height, left : left + width] = 1
        if np.array_equal(covered, cells):
            return rectangles
        cells = covered


def _inverse(covariance: dict[tuple[int, int], Array], eps: float) -> dict[tuple[int, int], Array]:
    """Invert the symmetric 3 x 3 matrix ``covariance + eps * identity`` at every pixel by its adjugate."""
    a, b, c = covariance[0, 0] + eps, covariance[0, 1], covariance[0, 2]
    d, e, f = covariance[1, 1] + eps, covariance[1, 2], covariance[2, 2] + eps
    adjugate = (d * f - e * e, c * e - b * f, b * e - c * d, a * f - c * c, b * c - a * e, a * d - b * b)
    determinant = np.maximum(a * adjugate[0] + b * adjugate[1] + c * adjugate[2], eps**3)
    return {pair: entry / determinant for pair, entry in zip(_CHANNEL_PAIRS, adjugate, strict=True)}
