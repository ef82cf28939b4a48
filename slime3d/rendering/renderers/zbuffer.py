"""Default renderer: a z-buffer on the CPU with numpy, compiled by numba if installed, with equal ids.

The triangles of several views are drawn together. They are sorted into classes by the size of their bounding box in
pixels, so that each class is a dense block of arithmetic without Python loops over faces or pixels. A pixel keeps the
minimum of a 64-bit key with the depth order in the high half and the face in the low half.

A pixel is covered if its centre lies in the triangle or on its border. Borders are widened by a billionth of the
triangle, so that rounding opens no cracks between neighbours. See docs/adr/0011.
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

_MIN_BARYCENTRIC = -1e-9  # lowest barycentric coordinate of a covered pixel; below 0 to close cracks
_EMPTY_KEY = np.iinfo(np.int64).max
_TRIANGLES_PER_BATCH = 1 << 20  # prepared together
_PIXELS_PER_BATCH = 1 << 17  # tested together, small enough for the cache
_SIDE_STEPS = (1, 1.25, 1.5, 1.75)
_BOX_SIDES = np.unique([1, 2, 3, 4, 5, 6, 7, *(int(power * f) for power in 2 ** np.arange(3, 14) for f in _SIDE_STEPS)])


@dataclass(frozen=True, slots=True, eq=False)
class _TriangleBatch:
    """Projected triangles with at least a row and a column of pixel centres in their bounding box.

    Parameters
    ----------
    planes : (T, 9) float64
        First two barycentric coordinates and inverse depth, each as value at the box's first pixel, slope along x,
        and slope along y.
    box : (T, 2) int64
        Height and width, pixels.
    base : (T,) int64
        Flat index of the box's first pixel.
    face : (T,) int64
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
        Use numba if it is installed.
    """

    def __init__(self, compiled: bool = True) -> None:
        self._draw = (_draw_numba() if compiled else None) or _draw_numpy

    def face_ids(self, vertices: Array, faces: Array, cameras: Cameras) -> Array:
        """Find the nearest face of every pixel, -1 = none.

        Parameters
        ----------
        vertices : (V, 3) float64
        faces : (F, 3) int
        cameras : Cameras

        Returns
        -------
        (N, h, w) int32
        """
        h, w = cameras.size
        face_id = np.full((len(cameras), h, w), -1, np.int32)
        step = max(1, _TRIANGLES_PER_BATCH // max(1, len(faces)))
        for first in range(0, len(cameras), step):
            batch = cameras[first : first + step]
            prepared = [
                _prepare_triangles(vertices, faces, batch[view : view + 1], view * h * w) for view in range(len(batch))
            ]
            planes, box, base, face = (
                np.concatenate([getattr(s, name) for s in prepared]) for name in _TriangleBatch.__slots__
            )
            buffer = np.full(len(batch) * h * w, _EMPTY_KEY, np.int64)
            self._draw(buffer, planes, box, base, face, w)
            ids = np.where(buffer == _EMPTY_KEY, -1, buffer & 0xFFFFFFFF)
            face_id[first : first + step] = ids.reshape(-1, h, w)
        return face_id

    def rasterize(self, vertices: Array, faces: Array, cameras: Cameras) -> Fragments:
        """See :class:`slime3d.rendering.renderers.Renderer`."""
        return fragments_of(self.face_ids(vertices, faces, cameras), vertices, faces, cameras)


def build() -> ZBuffer:
    """Build the default renderer."""
    return ZBuffer()


def _prepare_triangles(vertices: Array, faces: Array, camera: Cameras, offset: int) -> _TriangleBatch:
    """Project the triangles of a single view and compute their plane equations. `offset` is the view's first pixel."""
    pixels, depth = (a[0] for a in camera.project(vertices))
    h, w = camera.size
    usable = depth > NEAR * depth.max()
    x, y = (np.where(usable, pixels[:, i], np.nan)[faces] for i in (0, 1))
    (x0, x1), (y0, y1) = _pixel_range(x, w), _pixel_range(y, h)
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
    return _TriangleBatch(planes, box, (offset + y0 * w + x0).astype(np.int64), face)


def _pixel_range(positions: Array, size: int) -> tuple[Array, Array]:
    """Return the first and last pixel (T,) with its centre between the corners (T, 3), NaN for dropped corners."""
    a, b, c = positions.T
    low, high = np.minimum(np.minimum(a, b), c), np.maximum(np.maximum(a, b), c)
    return np.ceil(low - 0.5).clip(0), np.floor(high - 0.5).clip(max=size - 1)


def _draw_numpy(buffer: Array, planes: Array, box: Array, base: Array, face: Array, width: int) -> None:
    """Draw triangles into `buffer` (N * h * w,) int64, a class of box sizes at a time."""
    size_class = np.searchsorted(_BOX_SIDES, box) @ np.array([len(_BOX_SIDES), 1])
    order = np.argsort(size_class, kind="stable")
    kinds, starts, counts = np.unique(size_class[order], return_index=True, return_counts=True)
    for kind, start, stop in zip(kinds, starts, starts + counts, strict=True):
        kh, kw = (int(_BOX_SIDES[i]) for i in divmod(int(kind), len(_BOX_SIDES)))
        step = max(1, _PIXELS_PER_BATCH // (kh * kw))
        for first in range(start, stop, step):
            chosen = order[first : min(first + step, stop)]
            _draw_class(buffer, planes[chosen], box[chosen], base[chosen], face[chosen], width, kh, kw)


def _draw_class(
    buffer: Array, planes: Array, box: Array, base: Array, face: Array, width: int, kh: int, kw: int
) -> None:
    """Draw triangles with boxes of at most (kh, kw) pixels into `buffer`."""
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
    covered = np.flatnonzero(first >= _MIN_BARYCENTRIC)
    triangle, pixel = np.divmod(covered, kh * kw)
    y, x = np.divmod(pixel, kw)
    inside_box = (y < box[triangle, 0]) & (x < box[triangle, 1])
    if not inside_box.all():
        triangle, y, x = triangle[inside_box], y[inside_box], x[inside_box]
    inverse = (planes[triangle, 6] + planes[triangle, 8] * y) + planes[triangle, 7] * x
    bits = inverse.astype(np.float32).view(np.int32).astype(np.int64)
    np.minimum.at(buffer, base[triangle] + y * width + x, ((0x7F800000 - bits) << 32) | face[triangle])


@cache
def _draw_numba() -> Callable[..., None] | None:
    """Return the drawing function compiled by numba, None if numba is not installed."""
    try:
        import numba
    except ImportError:
        return None
    return numba.njit(cache=True, nogil=True)(_draw_loops)  # type: ignore[no-any-return]


def _draw_loops(buffer: Array, planes: Array, box: Array, base: Array, face: Array, width: int) -> None:
    """Draw triangles into `buffer` by loops over pixels, with the arithmetic of :func:`_draw_numpy`."""
    float_bits = np.zeros(1, np.float32)
    bits = float_bits.view(np.int32)
    for t in range(len(base)):
        p = planes[t]
        for y in range(box[t, 0]):
            e0, e1, e2 = p[0] + p[2] * y, p[3] + p[5] * y, p[6] + p[8] * y
            row = base[t] + y * width
            for x in range(box[t, 1]):
                first, second = e0 + p[1] * x, e1 + p[4] * x
                if (
                    first >= _MIN_BARYCENTRIC
                    and second >= _MIN_BARYCENTRIC
                    and (1 - first) - second >= _MIN_BARYCENTRIC
                ):
                    float_bits[0] = e2 + p[7] * x
                    key = ((0x7F800000 - np.int64(bits[0])) << 32) | face[t]
                    buffer[row + x] = min(buffer[row + x], key)
