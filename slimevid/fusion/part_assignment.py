"""Bring parts that were told apart coarsely to the working size, each only where it may be."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box, bounding_spans
from slimecore.imaging.resize import resize_soft

__all__ = ["APPEARANCE_GAIN", "FLOW_GAIN", "assign_parts", "part_boundary_box"]

APPEARANCE_GAIN = 1.0
"""Extra weight of the learned parts when foreground is assigned to parts; 0: the same weight as for foreground."""
FLOW_GAIN = 2.0
"""Extra weight of the flow-warped labels when foreground is assigned to parts."""
_SURE = 0.98  # as for the background: a part surer than this of what is any part is not worked out finely
_TRACE = 0.005  # a part less likely than this is not there


def part_boundary_box(parts: Array, size: tuple[int, int], margin: int) -> Box | None:
    """Where parts meet, or none is sure, and `margin` pixels around, in a picture of some size; None if nowhere.

    Parameters
    ----------
    parts : (n, H, W) float32
        Probabilities of the parts, coarsely.
    """
    best, together = parts.max(0), parts.sum(0)
    there = together > 1 - _SURE
    labels = np.where(there, 1 + parts.argmax(0), 0).astype(np.uint8)
    square = np.ones((3, 3), np.uint8)
    meet = cv2.dilate(labels, square) != cv2.erode(labels, square)
    return _box(there & (meet | (best < _SURE * together)), size, margin)


def assign_parts(
    soft: Array,
    coarse: Array,
    told: Array,
    any_part: Array,
    box: Box,
    margin: int,
    finely: Callable[[int, Box], Array],
) -> None:
    """Write labels of several parts.

    Parameters
    ----------
    soft : (P, h, w) float32
        Its row 0 holds the probability of the background; the others, which are zeros, are written, and row 0 becomes
        what they leave.
    coarse : (P - 1, H, W) float32
        Probabilities of the parts: where each may be.
    told : (P - 1, H, W) float32
        Shares of the parts, but for what `finely` says.
    any_part : (rows, columns) float32
        Probability of being any part, in the box.
    box : Box
        Rows and columns of `soft` where parts are told apart anew.
    margin : int
        Pixels around the places where a part may be.
    finely : callable(part, box)
        Factor of a part's share in a box of `soft`.
    """
    size = (soft.shape[1], soft.shape[2])
    total = np.zeros(any_part.shape, np.float32)
    found: list[tuple[int, Box, Box, Array]] = []
    beside = False
    for part, (plane, share) in enumerate(zip(coarse, told, strict=True)):
        where = _box(plane > _TRACE, size, margin)
        if where is None:
            continue
        if not _within(where, box) and _box(plane > 1 - _SURE, size, 0) is not None:
            soft[1 + part] = resize_soft(plane[None], size)[0]
            beside = True
        here = _common(where, box)
        if here is None:
            continue
        weight = _enlarged(share, size, here)
        weight *= finely(part, here)
        inside = (_shifted(here[0], -box[0].start), _shifted(here[1], -box[1].start))
        total[inside] += weight
        found.append((part, here, inside, weight))
    any_part = any_part * (total > 0)
    scale = any_part / np.maximum(total, 1e-30)
    if beside:
        soft[(slice(1, None), *box)] = 0
    for part, here, inside, weight in found:
        np.multiply(weight, scale[inside], out=soft[(1 + part, *here)])
    soft[0] = 1 - soft[1:].sum(0) if beside else 1
    soft[0][box] = 1 - any_part


def _box(mask: Array, size: tuple[int, int], margin: int) -> Box | None:
    """Rows and columns of a picture of some size that hold all of a coarse mask, and `margin` pixels around."""
    spans = bounding_spans(mask)
    if spans is None:
        return None
    rows, columns = (
        slice(max(0, first * side // few - margin), min(side, -(-end * side // few) + margin))
        for (first, end), side, few in zip(spans, size, mask.shape, strict=True)
    )
    return rows, columns


def _common(one: Box, other: Box) -> Box | None:
    rows, columns = (slice(max(a.start, b.start), min(a.stop, b.stop)) for a, b in zip(one, other, strict=True))
    return (rows, columns) if rows.start < rows.stop and columns.start < columns.stop else None


def _within(one: Box, other: Box) -> bool:
    return all(b.start <= a.start and a.stop <= b.stop for a, b in zip(one, other, strict=True))


def _shifted(side: slice, by: int) -> slice:
    return slice(side.start + by, side.stop + by)


def _enlarged(plane: Array, size: tuple[int, int], box: Box) -> Array:
    """A plane (H, W) as of a picture of some size, in a box of that; places are rounded to 1/32 of a coarse pixel."""
    down, right = plane.shape[0] / size[0], plane.shape[1] / size[1]
    into = np.array(
        [
            [right, 0, (box[1].start + 0.5) * right - 0.5],
            [0, down, (box[0].start + 0.5) * down - 0.5],
        ]
    )
    rows, columns = (side.stop - side.start for side in box)
    mode = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    return np.asarray(cv2.warpAffine(plane, into, (columns, rows), flags=mode, borderMode=cv2.BORDER_REPLICATE))
