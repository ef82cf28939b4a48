"""Assign foreground to parts at mask size, each part only where the coarse labels allow it."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box, bounding_spans
from slimecore.imaging.resize import resize_soft

__all__ = ["APPEARANCE_GAIN", "FLOW_GAIN", "PartFactor", "assign_parts", "part_boundary_box"]

PartFactor = Callable[[int, Box], Array]
"""Factor (h, w) of a part's share in a box of the mask, given the part's number from 0 on."""

APPEARANCE_GAIN = 1.0
"""Extra weight of the learned parts when foreground is assigned to parts. 0: the same weight as for foreground."""
FLOW_GAIN = 2.0
"""Extra weight of the flow-warped labels when foreground is assigned to parts."""
_PART_CONFIDENCE = 0.98  # share of the foreground above which a part is not refined
_MIN_PART_PROBABILITY = 0.005  # a less likely part is absent


def part_boundary_box(parts: Array, size: tuple[int, int], margin: int) -> Box | None:
    """Return the box that holds all boundaries between parts and all cells without a confident part.

    Parameters
    ----------
    parts : (n, H, W) float32
        Coarse probabilities of the parts.
    size : (int, int)
        Rows and columns (h, w) of the mask.
    margin : int
        Pixels added on each side.

    Returns
    -------
    Box or None
        In pixels of the mask. None without such cells.
    """
    strongest, foreground = parts.max(0), parts.sum(0)
    inside = foreground > 1 - _PART_CONFIDENCE
    labels = np.where(inside, 1 + parts.argmax(0), 0).astype(np.uint8)
    square = np.ones((3, 3), np.uint8)
    boundary = cv2.dilate(labels, square) != cv2.erode(labels, square)
    return _scaled_box(inside & (boundary | (strongest < _PART_CONFIDENCE * foreground)), size, margin)


def assign_parts(
    soft: Array,
    coarse: Array,
    part_share: Array,
    foreground: Array,
    box: Box,
    margin: int,
    flow_factor: PartFactor,
) -> None:
    """Write the labels of several parts into `soft`.

    Parameters
    ----------
    soft : (P, h, w) float32
        Row 0 holds the probability of the background, all others are 0. Rows 1.. are written, and row 0 becomes the
        remainder.
    coarse : (P - 1, H, W) float32
        Coarse probabilities of the parts, which bound each part.
    part_share : (P - 1, H, W) float32
        Shares of the parts by all cues but the flow.
    foreground : (rows, columns) float32
        Probability of the foreground in the box.
    box : Box
        Rows and columns of `soft` to solve anew.
    margin : int
        Pixels added around the cells a part may occupy.
    flow_factor : PartFactor
        Likelihood of a part by the flow-warped labels.
    """
    size = (soft.shape[1], soft.shape[2])
    total = np.zeros(foreground.shape, np.float32)
    weighted: list[tuple[int, Box, Box, Array]] = []
    outside = False
    for part, (probability, share) in enumerate(zip(coarse, part_share, strict=True)):
        extent = _scaled_box(probability > _MIN_PART_PROBABILITY, size, margin)
        if extent is None:
            continue
        confident = probability > 1 - _PART_CONFIDENCE
        if not _is_within(extent, box) and _scaled_box(confident, size, 0) is not None:
            soft[1 + part] = resize_soft(probability[None], size)[0]
            outside = True
        common = _intersection(extent, box)
        if common is None:
            continue
        weight = _resize_crop(share, size, common)
        weight *= flow_factor(part, common)
        local = (_shifted(common[0], -box[0].start), _shifted(common[1], -box[1].start))
        total[local] += weight
        weighted.append((part, common, local, weight))
    foreground = foreground * (total > 0)
    scale = foreground / np.maximum(total, 1e-30)
    if outside:
        soft[(slice(1, None), *box)] = 0
    for part, common, local, weight in weighted:
        np.multiply(weight, scale[local], out=soft[(1 + part, *common)])
    soft[0] = 1 - soft[1:].sum(0) if outside else 1
    soft[0][box] = 1 - foreground


def _scaled_box(mask: Array, size: tuple[int, int], margin: int) -> Box | None:
    """Return the box, in a mask of `size`, that holds all True cells of a coarse mask (H, W) and a margin."""
    spans = bounding_spans(mask)
    if spans is None:
        return None
    rows, columns = (
        slice(max(0, first * side // cells - margin), min(side, -(-end * side // cells) + margin))
        for (first, end), side, cells in zip(spans, size, mask.shape, strict=True)
    )
    return rows, columns


def _intersection(one: Box, other: Box) -> Box | None:
    rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _is_within(inner: Box, outer: Box) -> bool:
    return all(b.start <= a.start and a.stop <= b.stop for a, b in zip(inner, outer, strict=True))


def _shifted(side: slice, by: int) -> slice:
    return slice(side.start + by, side.stop + by)


def _resize_crop(values: Array, size: tuple[int, int], box: Box) -> Array:
    """Resize (H, W) to `size` and crop a box, in a single pass. Positions are rounded to 1/32 of a coarse cell."""
    down, right = values.shape[0] / size[0], values.shape[1] / size[1]
    matrix = np.array(
        [
            [right, 0, (box[1].start + 0.5) * right - 0.5],
            [0, down, (box[0].start + 0.5) * down - 0.5],
        ]
    )
    rows, columns = (side.stop - side.start for side in box)
    mode = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(values, matrix, (columns, rows), flags=mode, borderMode=cv2.BORDER_REPLICATE))
