"""Triangulation of polygons in the order of the file.

A convex polygon becomes a fan from its first corner. A concave polygon, whose fan would leave the polygon, is cut by
ear clipping, which keeps its area.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimecore.array_types import Array

__all__ = ["Triangulation", "triangulate"]

_TOLERANCE = 1e-9  # of a polygon's area: smaller negative triangles are rounding
_MAX_CLIPPED_CORNERS = 5000  # ear clipping needs quadratic time


@dataclass(frozen=True, slots=True, eq=False)
class Triangulation:
    """Triangles of polygons.

    Parameters
    ----------
    corners : (T, 3) int64
        Positions in the flat list of corners.
    polygon : (T,) int64
        Polygon of every triangle.
    notes : tuple of str
        What the user should know, a clause each.
    """

    corners: Array
    polygon: Array
    notes: tuple[str, ...] = ()


def triangulate(flat: Array, sizes: Array, vertices: Array) -> Triangulation:
    """Cut polygons with k corners into k - 2 triangles, in the order of the polygons.

    Parameters
    ----------
    flat : (C,) int64
        Vertices at all corners, polygon after polygon.
    sizes : (P,) int64
        Number of corners of every polygon. Polygons with fewer than three have no triangle.
    vertices : (V, 3) float64
        Positions, which decide where concave polygons are cut.

    Returns
    -------
    Triangulation
    """
    starts = np.cumsum(sizes) - sizes
    count = (sizes - 2).clip(0)
    polygon = np.repeat(np.arange(len(sizes)), count)
    first = starts[polygon]
    step = np.arange(len(polygon)) - (np.cumsum(count) - count)[polygon]
    corners = np.stack([first, first + step + 1, first + step + 2], 1)
    notes = []
    small = int((sizes < 3).sum())
    if small:
        notes.append(f"{small} faces have fewer than three corners and are left out")
    cut = int((sizes > 3).sum())
    if cut:
        notes.append(f"{cut} polygons are cut into triangles where they stand; labels count triangles")
        crossing = 0
        for index in _concave_polygons(corners, polygon, sizes, vertices[flat]):
            begin = int(starts[index])
            ears = _clip_ears(vertices[flat[begin : begin + int(sizes[index])]])
            crossing += ears is None
            if ears is not None:
                at = int((np.cumsum(count) - count)[index])
                corners[at : at + len(ears)] = ears + begin
        if crossing:
            notes.append(f"{crossing} polygons cross themselves and are cut into fans that may leave the polygon")
    return Triangulation(corners, polygon, tuple(notes))


def _concave_polygons(corners: Array, polygon: Array, sizes: Array, points: Array) -> list[int]:
    """Return the polygons whose fans have a triangle against the polygon's normal."""
    large = sizes[polygon] > 3
    corners, polygon = corners[large], polygon[large]
    with np.errstate(invalid="ignore", over="ignore"):  # invalid positions are reported later
        a, b, c = (points[corners[:, i]] for i in range(3))
        area = np.cross(b - a, c - a)
        normal = np.zeros((len(sizes), 3))
        np.add.at(normal, polygon, area)
        size = np.linalg.norm(normal, axis=1)
        against = (area * normal[polygon]).sum(1) < -_TOLERANCE * size[polygon] ** 2
    return [int(i) for i in np.unique(polygon[against])]


def _clip_ears(points: Array) -> Array | None:
    """Cut one polygon (k, 3) into triangles (k - 2, 3), None if it crosses itself or is too large."""
    if len(points) > _MAX_CLIPPED_CORNERS or not np.isfinite(points).all():
        return None
    following = np.roll(points, -1, 0)
    normal = np.cross(points - points[0], following - points[0]).sum(0)
    axis = int(np.abs(normal).argmax())
    plane = np.delete(points, axis, 1)
    if (normal[axis] < 0) != (axis == 1):  # the remaining axes keep their handedness except for the middle one
        plane = plane * [1, -1]
    left = list(range(len(plane)))
    ears: list[list[int]] = []
    while len(left) > 3:
        ear = next((i for i in range(len(left)) if _is_ear(plane, left, i)), None)
        if ear is None:  # a corner on a straight line holds no area
            ear = next((i for i in range(len(left)) if _doubled_area(plane, left, i) == 0), None)
        if ear is None:
            return None
        ears.append([left[ear - 1], left[ear], left[(ear + 1) % len(left)]])
        del left[ear]
    return None if _doubled_area(plane, left, 1) < 0 else np.array([*ears, left], np.int64)


def _doubled_area(plane: Array, left: list[int], i: int) -> float:
    """Return twice the signed area of the triangle at corner `i` of the remaining corners."""
    a, b, c = plane[left[i - 1]], plane[left[i]], plane[left[(i + 1) % len(left)]]
    return float((b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]))


def _is_ear(plane: Array, left: list[int], i: int) -> bool:
    """Return whether corner `i` of the remaining corners can be cut off."""
    a, b, c = plane[left[i - 1]], plane[left[i]], plane[left[(i + 1) % len(left)]]
    if _doubled_area(plane, left, i) <= 0:
        return False
    others = plane[left]
    inside = np.ones(len(others), bool)
    for p, q in ((a, b), (b, c), (c, a)):
        side = (q[0] - p[0]) * (others[:, 1] - p[1]) - (q[1] - p[1]) * (others[:, 0] - p[0])
        inside &= side >= 0
    for corner in (a, b, c):  # bridges to holes visit a position twice
        inside &= (others != corner).any(1)
    return not inside.any()
