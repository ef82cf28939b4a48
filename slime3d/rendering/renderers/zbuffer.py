"""The default renderer: a z-buffer on the CPU, numpy alone; compiled by numba where that is installed, same ids.

The triangles of several views are drawn at once. They are sorted into classes by the size of their box of pixels, so
that a class is a dense block of arithmetic: no loop over faces, pixels or, for small meshes, views. A pixel keeps the
minimum of a key whose high half orders depths and whose low half is the face.

A pixel is covered when its centre lies in the triangle or on its border. Borders are widened by a billionth of the
triangle, so that rounding opens no crack between neighbours.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np

from slime3d.rendering.cameras import Cameras
from slime3d.rendering.renderers import NEAR, Fragments, fragments_of
from slimecore.array_types import Array

__all__ = ["ZBuffer", "build"]

_SLACK = -1e-9  # of barycentric coordinates
_EMPTY = np.iinfo(np.int64).max
_TRIANGLES = 1 << 20  # set up at once
_PIXELS = 1 << 17  # tested at once: stays in the cache
_FINE = (1, 1.25, 1.5, 1.75)
_SIDES = np.unique([1, 2, 3, 4, 5, 6, 7, *(int(power * f) for power in 2 ** np.arange(3, 14) for f in _FINE)])


@dataclass(frozen=True, slots=True, eq=False)
class _Triangles:
    """What drawing needs of T triangles that cover at least one pixel centre's row and column.

    planes (T, 9): first two barycentric coordinates and the inverse depth as value at the box's first pixel, slope
    along x, slope along y. box (T, 2): height and width. base (T,): flat index of the box's first pixel. face (T,).
    """

    planes: Array
    box: Array
    base: Array
    face: Array


class ZBuffer:
    """Z-buffer rasteriser.

    Parameters
    ----------
    compiled : bool
        Use numba where it is installed.
    """

    def __init__(self, compiled: bool = True) -> None:
        self._draw = (_compiled() if compiled else None) or _draw

    def face_ids(self, vertices: Array, faces: Array, cameras: Cameras) -> Array:
        """(N, h, w) int32 nearest face of every pixel, -1 none."""
        h, w = cameras.size
        out = np.full((len(cameras), h, w), -1, np.int32)
        step = max(1, _TRIANGLES // max(1, len(faces)))
        for first in range(0, len(cameras), step):
            few = cameras[first : first + step]
            sets = [_set_up(vertices, faces, few[view : view + 1], view * h * w) for view in range(len(few))]
            planes, box, base, face = (
                np.concatenate([getattr(s, name) for s in sets]) for name in _Triangles.__slots__
            )
            buffer = np.full(len(few) * h * w, _EMPTY, np.int64)
            self._draw(buffer, planes, box, base, face, w)
            ids = np.where(buffer == _EMPTY, -1, buffer & 0xFFFFFFFF)
            out[first : first + step] = ids.reshape(-1, h, w)
        return out

    def rasterize(self, vertices: Array, faces: Array, cameras: Cameras) -> Fragments:
        """See :class:`slime3d.rendering.renderers.Renderer`."""
        return fragments_of(self.face_ids(vertices, faces, cameras), vertices, faces, cameras)


def build() -> ZBuffer:
    """The default renderer."""
    return ZBuffer()


def _set_up(vertices: Array, faces: Array, camera: Cameras, offset: int) -> _Triangles:
    pixels, depth = (a[0] for a in camera.project(vertices))
    h, w = camera.size
    usable = depth > NEAR * depth.max()
    x, y = (np.where(usable, pixels[:, i], np.nan)[faces] for i in (0, 1))
    (x0, x1), (y0, y1) = _span(x, w), _span(y, h)
    area = (x[:, 1] - x[:, 0]) * (y[:, 2] - y[:, 0]) - (x[:, 2] - x[:, 0]) * (y[:, 1] - y[:, 0])
    face = np.flatnonzero((x1 >= x0) & (y1 >= y0) & (np.abs(area) > 1e-12))
    x, y, x0, x1, y0, y1, area = (a[face] for a in (x, y, x0, x1, y0, y1, area))
    inverse = 1 / depth[faces[face]]
    x, y = x - (x0 + 0.5)[:, None], y - (y0 + 0.5)[:, None]
    planes = np.zeros((len(face), 9))
    planes[:, 0] = (x[:, 1] * y[:, 2] - x[:, 2] * y[:, 1]) / area
    planes[:, 1], planes[:, 2] = (y[:, 1] - y[:, 2]) / area, (x[:, 2] - x[:, 1]) / area
    planes[:, 3] = (x[:, 2] * y[:, 0] - x[:, 0] * y[:, 2]) / area
    planes[:, 4], planes[:, 5] = (y[:, 2] - y[:, 0]) / area, (x[:, 0] - x[:, 2]) / area
    first, second = inverse[:, 0] - inverse[:, 2], inverse[:, 1] - inverse[:, 2]
    planes[:, 6:9] = planes[:, 0:3] * first[:, None] + planes[:, 3:6] * second[:, None]
    planes[:, 6] += inverse[:, 2]
    box = np.stack([y1 - y0 + 1, x1 - x0 + 1], 1).astype(np.int64)
    return _Triangles(planes, box, (offset + y0 * w + x0).astype(np.int64), face)


def _span(positions: Array, size: int) -> tuple[Array, Array]:
    """First and last pixel whose centre lies between corners (T, 3); NaN where a corner was dropped."""
    a, b, c = positions.T
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    return np.ceil(low - 0.5).clip(0), np.floor(high - 0.5).clip(max=size - 1)


def _draw(buffer: Array, planes: Array, box: Array, base: Array, face: Array, width: int) -> None:
    """Draw into `buffer` (N * h * w,) int64."""
    size_class = np.searchsorted(_SIDES, box) @ np.array([len(_SIDES), 1])
    order = np.argsort(size_class, kind="stable")
    kinds, starts, counts = np.unique(size_class[order], return_index=True, return_counts=True)
    for kind, start, stop in zip(kinds, starts, starts + counts, strict=True):
        kh, kw = (int(_SIDES[i]) for i in divmod(int(kind), len(_SIDES)))
        step = max(1, _PIXELS // (kh * kw))
        for first in range(start, stop, step):
            some = order[first : min(first + step, stop)]
            _draw_class(buffer, planes[some], box[some], base[some], face[some], width, kh, kw)


def _draw_class(
    buffer: Array, planes: Array, box: Array, base: Array, face: Array, width: int, kh: int, kw: int
) -> None:
    dx, dy = np.arange(kw), np.arange(kh)

    def plane(i: int) -> Array:
        rows = planes[:, i, None] + planes[:, i + 2, None] * dy
        columns = planes[:, i + 1, None] * dx
        return np.asarray(rows[:, :, None] + columns[:, None, :])

    first, second = plane(0), plane(3)
    third = 1 - first
    third -= second
    np.minimum(first, second, out=first)
    np.minimum(first, third, out=first)
    flat = np.flatnonzero(first >= _SLACK)
    which, place = np.divmod(flat, kh * kw)
    y, x = np.divmod(place, kw)
    real = (y < box[which, 0]) & (x < box[which, 1])
    if not real.all():
        which, y, x = which[real], y[real], x[real]
    inverse = (planes[which, 6] + planes[which, 8] * y) + planes[which, 7] * x
    bits = inverse.astype(np.float32).view(np.int32).astype(np.int64)
    np.minimum.at(buffer, base[which] + y * width + x, ((0x7F800000 - bits) << 32) | face[which])


@cache
def _compiled() -> Callable[..., None] | None:
    """The same loop by loop, for numba; None where it is not installed."""
    try:
        import numba
    except ImportError:
        return None
    return numba.njit(cache=True, nogil=True)(_loops)  # type: ignore[no-any-return]


def _loops(buffer: Array, planes: Array, box: Array, base: Array, face: Array, width: int) -> None:
    one = np.zeros(1, np.float32)
    bits = one.view(np.int32)
    for t in range(len(base)):
        p = planes[t]
        for y in range(box[t, 0]):
            e0, e1, e2 = p[0] + p[2] * y, p[3] + p[5] * y, p[6] + p[8] * y
            row = base[t] + y * width
            for x in range(box[t, 1]):
                first, second = e0 + p[1] * x, e1 + p[4] * x
                if first >= _SLACK and second >= _SLACK and (1 - first) - second >= _SLACK:
                    one[0] = e2 + p[7] * x
                    key = ((0x7F800000 - np.int64(bits[0])) << 32) | face[t]
                    buffer[row + x] = min(buffer[row + x], key)
