"""Search region: the rectangle around the parts that is processed, at a higher resolution for the same work.

The region of a key frame is planned two key frames ahead, so that the next frame can be prepared while this one is
labelled. It moves only when the parts come near its border or have become small in it, because every move resamples the
propagated state. See docs/adr/0024.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box, Spans, bounding_spans
from slimecore.imaging.resize import resize_soft

__all__ = ["SearchRegion", "full_frame", "next_region", "part_extent", "region_around", "resample_between"]

_MARGIN_SHARE = 0.35  # margin around the parts in a new region, share of their larger extent
_MIN_MARGIN_SHARE = 0.1  # with a smaller margin the region moves
_MAX_AREA_RATIO = 1.5  # a region this many times larger than a new one is replaced
_MIN_PIECE_SHARE = 0.2  # pieces below this share of their part's largest piece do not count
_MIN_SIDE_SHARE = 0.4  # of the frame's sides, so that the surroundings of the parts stay visible


@dataclass(frozen=True, slots=True)
class SearchRegion:
    """Rectangle of a frame.

    Parameters
    ----------
    top, left, height, width : int
        In pixels of the frame.
    zoom : float
        Magnification relative to a full frame, at least 1.
    """

    top: int
    left: int
    height: int
    width: int
    zoom: float = 1.0

    @property
    def box(self) -> Box:
        """Slices of rows and columns."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    @property
    def size(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.height, self.width

    def expanded(self, cell: int, size: tuple[int, int]) -> SearchRegion:
        """Return the region expanded to whole cells (in pixels) of a frame of `size`, plus a cell on each side."""
        top, left = (max(0, (start // cell - 1) * cell) for start in (self.top, self.left))
        bottom, right = (
            min(side, (-(-end // cell) + 1) * cell)
            for end, side in zip((self.top + self.height, self.left + self.width), size, strict=True)
        )
        return SearchRegion(top, left, bottom - top, right - left, self.zoom)

    def paste(self, soft: Array, inner: SearchRegion) -> Array:
        """Resize soft labels of an inner region to its size, and paste them into this region.

        Parameters
        ----------
        soft : (P, h, w) float32
        inner : SearchRegion
            Region of `soft`, inside this one.

        Returns
        -------
        (P, height, width) float32
            Everything outside the inner region is background.
        """
        wide = np.zeros((len(soft), self.height, self.width), np.float32)
        wide[0] = 1
        top, left = inner.top - self.top, inner.left - self.left
        for plane, pasted in zip(soft, wide, strict=True):
            pasted[top : top + inner.height, left : left + inner.width] = resize_soft(plane[None], inner.size)[0]
        return wide

    def to_array(self) -> Array:
        """Return the region as (5,) float64."""
        return np.array([self.top, self.left, self.height, self.width, self.zoom], np.float64)

    @classmethod
    def from_array(cls, values: Array) -> SearchRegion:
        """Restore a region from :meth:`to_array`."""
        top, left, height, width = (int(v) for v in values[:4])
        return cls(top, left, height, width, float(values[4]))


def full_frame(size: tuple[int, int]) -> SearchRegion:
    """Return the region of a full frame of `size` = ``(h, w)``."""
    return SearchRegion(0, 0, *size)


def region_around(spans: Spans | None, size: tuple[int, int], max_zoom: float) -> SearchRegion:
    """Return the region around the parts, or the full frame without parts.

    Parameters
    ----------
    spans : Spans or None
        Rows and columns that hold the parts (:func:`slimecore.imaging.boxes.bounding_spans`).
    size : (int, int)
        Rows and columns of the frame.
    max_zoom : float
        Largest magnification. 1 or less always gives the full frame.

    Returns
    -------
    SearchRegion
    """
    if spans is None or max_zoom <= 1:
        return full_frame(size)
    margin = _MARGIN_SHARE * max(end - first for first, end in spans)
    (top, bottom), (left, right) = (_padded(span, margin, side) for span, side in zip(spans, size, strict=True))
    zoom = min(max_zoom, math.sqrt(size[0] * size[1] / ((bottom - top) * (right - left))))
    return SearchRegion(top, left, bottom - top, right - left, zoom)


def part_extent(labels: Array, region: SearchRegion) -> Spans | None:
    """Return the rows and columns of the frame that hold the parts, small stray pieces left out.

    A few stray pixels would enlarge the region to the full frame, at a lower resolution, and so lead to more of them.

    Parameters
    ----------
    labels : (h, w) int
        Rows of parts, 0 background, at any size.
    region : SearchRegion
        Region of `labels`.

    Returns
    -------
    Spans or None
        None without parts.
    """
    count, pieces = cv2.connectedComponents((labels > 0).astype(np.uint8))
    cells = labels.ravel().astype(np.int64) * count + pieces.ravel()
    areas = np.bincount(cells, minlength=(int(labels.max()) + 1) * count)
    areas = areas.reshape(-1, count)[1:]  # of every part in every piece
    kept = ((areas > 0) & (areas >= _MIN_PIECE_SHARE * areas.max(1, keepdims=True))).any(0)
    spans = bounding_spans(kept[pieces])
    if spans is None:
        return None
    rows, columns = (
        (start + first * side // few, start + -(-end * side // few))
        for (first, end), start, side, few in zip(
            spans, (region.top, region.left), (region.height, region.width), labels.shape, strict=True
        )
    )
    return rows, columns


def next_region(
    region: SearchRegion, before: Spans | None, now: Spans | None, size: tuple[int, int], max_zoom: float
) -> SearchRegion:
    """Return the region of the key frame after the next: a new one if the parts will leave, outgrow or underfill it.

    Parameters
    ----------
    region : SearchRegion
        Region of the next key frame.
    before, now : Spans or None
        Rows and columns of the parts in the last two key frames.
    size : (int, int)
        Rows and columns of the frame.
    max_zoom : float
        Largest magnification.

    Returns
    -------
    SearchRegion
    """
    if now is None or max_zoom <= 1:
        return full_frame(size)
    coming = now if before is None else _extrapolated(before, now, size)
    margin = _MIN_MARGIN_SHARE * max(end - first for first, end in now)
    have = ((region.top, region.top + region.height), (region.left, region.left + region.width))
    roomy = all(
        (low <= 0 or low <= first - margin) and (high >= side or high >= end + margin)
        for (first, end), (low, high), side in zip(coming, have, size, strict=True)
    )
    wanted = region_around(coming, size, max_zoom)
    small = region.height * region.width <= _MAX_AREA_RATIO * wanted.height * wanted.width
    return region if roomy and small else wanted


def _extrapolated(before: Spans, now: Spans, size: tuple[int, int]) -> Spans:
    """Return the rows and columns that hold the parts now and in two key frames, at constant velocity."""
    spans = []
    for (first, end), (first_before, end_before), side in zip(now, before, size, strict=True):
        limit = (end - first) / 2  # a larger jump is not motion: a piece appeared or disappeared
        step = round(2 * min(limit, max(-limit, (first + end - first_before - end_before) / 2)))
        spans.append((max(0, min(first, first + step)), min(side, max(end, end + step))))
    return spans[0], spans[1]


def resample_between(
    soft: Array, old: SearchRegion, new: SearchRegion, size: tuple[int, int], outside: float = 1.0
) -> Array:
    """Resample soft labels of a region to another region.

    Parameters
    ----------
    soft : (P, h, w) float32
    old, new : SearchRegion
        Region of `soft`, and of the result.
    size : (int, int)
        Rows and columns of the result.
    outside : float
        Value of the first plane outside the old region. All other planes are 0 there.

    Returns
    -------
    (P, *size) float32
    """
    if not len(soft):
        return np.zeros((0, *size), np.float32)
    h, w = soft.shape[1:]
    per_row, per_column = new.height / size[0], new.width / size[1]
    row_scale, column_scale = h / old.height, w / old.width
    matrix = np.array(
        [
            [per_column * column_scale, 0, ((0.5 * per_column) + new.left - old.left) * column_scale - 0.5],
            [0, per_row * row_scale, ((0.5 * per_row) + new.top - old.top) * row_scale - 0.5],
        ]
    )
    mode = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    planes = [
        cv2.warpAffine(
            plane, matrix, size[::-1], flags=mode, borderMode=cv2.BORDER_CONSTANT, borderValue=outside * (part == 0)
        )
        for part, plane in enumerate(soft)
    ]
    return np.stack(planes)


def _padded(span: tuple[int, int], margin: float, side: int) -> tuple[int, int]:
    """Pad a span to its margin and minimum length. Length cut off at an end of the frame is added to the other end."""
    length = min(side, max(round(span[1] - span[0] + 2 * margin), math.ceil(_MIN_SIDE_SHARE * side)))
    start = round((span[0] + span[1] - length) / 2)
    start = max(0, min(start, side - length))
    return start, start + length
