"""Compute bounding boxes as slices or spans of rows and columns."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from slimecore.array_types import Array

__all__ = ["Box", "Spans", "bounding_spans", "uncertain_box", "union_box"]

Box = tuple[slice, slice]
Spans = tuple[tuple[int, int], tuple[int, int]]
_DECIDED_PROBABILITY = (
    0.98  # pixels of this probability are decided: solving them at a finer resolution changes nothing
)


def uncertain_box(soft: Array, margin: int) -> Box | None:
    """Return the bounding box of the pixels where no plane has a probability of .98.

    Parameters
    ----------
    soft : (n, h, w) float32
        Probabilities, 0..1.
    margin : int
        Pixels added on every side, within the picture.

    Returns
    -------
    Box or None
        None if every pixel is certain.
    """
    spans = bounding_spans(soft.max(0) < _DECIDED_PROBABILITY)
    if spans is None:
        return None
    rows, columns = (
        slice(max(0, first - margin), min(side, end + margin))
        for (first, end), side in zip(spans, soft.shape[1:], strict=True)
    )
    return rows, columns


def union_box(boxes: Iterable[Box | None]) -> Box | None:
    """Return the bounding box of all boxes that are not None, or None if all are."""
    present = [box for box in boxes if box is not None]
    if not present:
        return None
    rows, columns = (
        slice(min(side.start for side in sides), max(side.stop for side in sides))
        for sides in zip(*present, strict=True)
    )
    return rows, columns


def bounding_spans(mask: Array) -> Spans | None:
    """Return the spans ``(first, end)`` of rows and of columns of a (h, w) bool mask, or None if it is empty."""
    lines = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    if not len(lines[0]):
        return None
    rows, columns = ((int(line[0]), int(line[-1]) + 1) for line in lines)
    return rows, columns
