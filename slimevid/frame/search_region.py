"""The part of the picture that is looked at: around the parts, at a higher resolution for the same work.

A window follows the parts as a tracker's search region does. It is decided two frames ahead, so that the next frame can
be prepared while this one is being labelled, and moves only when the parts come near its border or have become small in
it: every move resamples what is carried along.
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

_ROOM = 0.35  # free space around the parts in a new window, as a share of their larger extent
_LEAST_ROOM = 0.1  # less than this, and the window moves
_SLACK = 1.5  # an area so many times that of a new window is too much
_STRAY = 0.2  # a piece that is a smaller share of its part's largest piece does not move the window
_LEAST_SIDE = 0.4  # of the picture's sides: what surrounds the parts must stay in sight


@dataclass(frozen=True, slots=True)
class SearchRegion:
    """A rectangle of a picture, pixels.

    Parameters
    ----------
    top, left, height, width : int
    zoom : float
        How many times larger than in the whole picture things are shown in it.
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
        """Whole cells, so many pixels wide, of a picture of some size that hold this window, and one more around it."""
        top, left = (max(0, (start // cell - 1) * cell) for start in (self.top, self.left))
        bottom, right = (
            min(side, (-(-end // cell) + 1) * cell)
            for end, side in zip((self.top + self.height, self.left + self.width), size, strict=True)
        )
        return SearchRegion(top, left, bottom - top, right - left, self.zoom)

    def paste(self, soft: Array, inner: SearchRegion) -> Array:
        """Soft labels (P, h, w) of a window within this one, as new labels of all pixels of this one.

        They are brought to the inner window's size first; around that is background.
        """
        wide = np.zeros((len(soft), self.height, self.width), np.float32)
        wide[0] = 1
        top, left = inner.top - self.top, inner.left - self.left
        for plane, whole_plane in zip(soft, wide, strict=True):
            whole_plane[top : top + inner.height, left : left + inner.width] = resize_soft(plane[None], inner.size)[0]
        return wide

    def to_array(self) -> Array:
        """(5,) float64, for :meth:`from_array`."""
        return np.array([self.top, self.left, self.height, self.width, self.zoom], np.float64)

    @classmethod
    def from_array(cls, values: Array) -> SearchRegion:
        """What :meth:`to_array` gave."""
        top, left, height, width = (int(v) for v in values[:4])
        return cls(top, left, height, width, float(values[4]))


def full_frame(size: tuple[int, int]) -> SearchRegion:
    """All of a picture ``(h, w)``."""
    return SearchRegion(0, 0, *size)


def region_around(spans: Spans | None, size: tuple[int, int], most: float) -> SearchRegion:
    """Window for parts that lie within some rows and columns of a picture; all of it if they are nowhere.

    Parameters
    ----------
    spans : Spans or None
        Of :func:`slimecore.imaging.boxes.spans_of`.
    size : (int, int)
        Of the picture.
    most : float
        Largest zoom; 1 or less always shows the whole picture.
    """
    if spans is None or most <= 1:
        return full_frame(size)
    room = _ROOM * max(end - first for first, end in spans)
    (top, bottom), (left, right) = (_padded(span, room, side) for span, side in zip(spans, size, strict=True))
    zoom = min(most, math.sqrt(size[0] * size[1] / ((bottom - top) * (right - left))))
    return SearchRegion(top, left, bottom - top, right - left, zoom)


def part_extent(labels: Array, window: SearchRegion) -> Spans | None:
    """Rows and columns of the picture that hold the parts found in a window, but for strays.

    A few pixels somewhere else would make the window the picture, show everything small, and so lead to more of them.

    Parameters
    ----------
    labels : (h, w) int
        Numbers of parts, 0 background, at any size.
    window : Window
    """
    count, pieces = cv2.connectedComponents((labels > 0).astype(np.uint8))
    cells = labels.ravel().astype(np.int64) * count + pieces.ravel()
    areas = np.bincount(cells, minlength=(int(labels.max()) + 1) * count)
    areas = areas.reshape(-1, count)[1:]  # of every part in every piece
    kept = ((areas > 0) & (areas >= _STRAY * areas.max(1, keepdims=True))).any(0)
    spans = bounding_spans(kept[pieces])
    if spans is None:
        return None
    rows, columns = (
        (start + first * side // few, start + -(-end * side // few))
        for (first, end), start, side, few in zip(
            spans, (window.top, window.left), (window.height, window.width), labels.shape, strict=True
        )
    )
    return rows, columns


def next_region(
    window: SearchRegion, before: Spans | None, now: Spans | None, size: tuple[int, int], most: float
) -> SearchRegion:
    """Window to look at two frames from now: a new one if the parts will have outgrown the old, left it, or shrunk.

    Parameters
    ----------
    window : Window
        To look at one frame from now.
    before, now : Spans or None
        Where the parts were in the last two frames.
    size, most
        As in :func:`around`.
    """
    if now is None or most <= 1:
        return full_frame(size)
    coming = now if before is None else _going_on(before, now, size)
    room = _LEAST_ROOM * max(end - first for first, end in now)
    have = ((window.top, window.top + window.height), (window.left, window.left + window.width))
    roomy = all(
        (low <= 0 or low <= first - room) and (high >= side or high >= end + room)
        for (first, end), (low, high), side in zip(coming, have, size, strict=True)
    )
    wanted = region_around(coming, size, most)
    small = window.height * window.width <= _SLACK * wanted.height * wanted.width
    return window if roomy and small else wanted


def _going_on(before: Spans, now: Spans, size: tuple[int, int]) -> Spans:
    """Rows and columns that hold the parts now and, if their middle moves on as it did, in two frames."""
    found = []
    for (first, end), (first_before, end_before), side in zip(now, before, size, strict=True):
        most = (end - first) / 2  # farther in a frame is no motion: something was found or lost
        step = round(2 * min(most, max(-most, (first + end - first_before - end_before) / 2)))
        found.append((max(0, min(first, first + step)), min(side, max(end, end + step))))
    return found[0], found[1]


def resample_between(
    soft: Array, old: SearchRegion, new: SearchRegion, size: tuple[int, int], outside: float = 1.0
) -> Array:
    """Soft labels (P, h, w) float32 of one window, as (P, *size) of another.

    Where the one saw nothing, the first plane is `outside` and the others are 0: background.
    """
    if not len(soft):
        return np.zeros((0, *size), np.float32)
    h, w = soft.shape[1:]
    per_row, per_column = new.height / size[0], new.width / size[1]
    row_scale, column_scale = h / old.height, w / old.width
    into = np.array(
        [
            [per_column * column_scale, 0, ((0.5 * per_column) + new.left - old.left) * column_scale - 0.5],
            [0, per_row * row_scale, ((0.5 * per_row) + new.top - old.top) * row_scale - 0.5],
        ]
    )
    mode = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found = [
        cv2.warpAffine(
            plane, into, size[::-1], flags=mode, borderMode=cv2.BORDER_CONSTANT, borderValue=outside * (part == 0)
        )
        for part, plane in enumerate(soft)
    ]
    return np.stack(found)


def _padded(span: tuple[int, int], room: float, side: int) -> tuple[int, int]:
    """A span with room around it, at least so long, within the picture: what is cut off at one end joins the other."""
    length = min(side, max(round(span[1] - span[0] + 2 * room), math.ceil(_LEAST_SIDE * side)))
    start = round((span[0] + span[1] - length) / 2)
    start = max(0, min(start, side - length))
    return start, start + length
