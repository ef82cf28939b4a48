"""Boxes in pictures: rows and columns."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from slimecore.array_types import Array

__all__ = ["Box", "Spans", "bounding_spans", "uncertain_box", "union_box"]

Box = tuple[slice, slice]
Spans = tuple[tuple[int, int], tuple[int, int]]
_UNDECIDED = 0.98  # labels surer than this change nothing by being worked out more finely


def uncertain_box(soft: Array, margin: int) -> Box | None:
    """Where no part is .98 sure, and `margin` pixels around it, of soft maps (parts, h, w); None where all is sure."""
    spans = bounding_spans(soft.max(0) < _UNDECIDED)
    if spans is None:
        return None
    rows, columns = (
        slice(max(0, first - margin), min(side, end + margin))
        for (first, end), side in zip(spans, soft.shape[1:], strict=True)
    )
    return rows, columns


def union_box(boxes: Iterable[Box | None]) -> Box | None:
    """The box that holds some boxes; None if there is none."""
    some = [box for box in boxes if box is not None]
    if not some:
        return None
    rows, columns = (
        slice(min(side.start for side in sides), max(side.stop for side in sides)) for sides in zip(*some, strict=True)
    )
    return rows, columns


def bounding_spans(mask: Array) -> Spans | None:
    """Rows ``(first, end)`` and columns of a mask (h, w) bool; None of an empty one."""
    lines = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    if not len(lines[0]):
        return None
    rows, columns = ((int(line[0]), int(line[-1]) + 1) for line in lines)
    return rows, columns
