"""Polygons cut into triangles in their own order.

trimesh puts all triangles of a file first, then the first halves of its quads, then the second halves, then fans of
larger polygons. Labels have to follow the file, so while one is read its function stands back for the one below.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from slimecore.array_types import Array

__all__ = ["fan_triangulate", "polygons_in_order"]

_NAME = "triangulate_quads"
_USERS = ("trimesh.geometry", "trimesh.exchange.off", "trimesh.exchange.ply")


def fan_triangulate(polygons: Any) -> Array:
    """(T, 3) int64 triangles of polygons with k corners each: fans of k - 2 triangles, one polygon after the other.

    Parameters
    ----------
    polygons : (n, k) int array, or sequence of n sequences of int
        Those with fewer than three corners are left out.
    """
    try:
        table = np.array(polygons, np.int64)
        corners, flat = np.full(len(table), table.shape[1]), table.reshape(-1)
    except ValueError:  # of different lengths
        corners = np.array([len(p) for p in polygons])
        flat = np.array([int(c) for p in polygons for c in p], np.int64)
    count = (corners - 2).clip(0)
    first = np.repeat(np.cumsum(corners) - corners, count)
    step = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return np.asarray(np.stack([flat[first], flat[first + step + 1], flat[first + step + 2]], 1))


@contextmanager
def polygons_in_order() -> Iterator[list[int]]:
    """While it lasts, trimesh cuts polygons as :func:`cut` does; gives a list that grows by how many each call cut."""
    found: list[int] = []

    def ours(quads: Any, dtype: Any = np.int64, use_fan: bool = True) -> Array:
        if isinstance(quads, np.ndarray) and quads.ndim == 2 and quads.shape[1] == 3:
            return quads.astype(dtype)
        if not len(quads):
            return np.zeros((0, 3), dtype)
        faces = fan_triangulate(quads)
        if len(faces) != len(quads):
            found.append(sum(len(p) > 3 for p in quads))
        return faces.astype(dtype)

    modules = [m for m in map(import_module, _USERS) if hasattr(m, _NAME)]
    before = [getattr(m, _NAME) for m in modules]
    try:
        for module in modules:
            setattr(module, _NAME, ours)
        yield found
    finally:
        for module, function in zip(modules, before, strict=True):
            setattr(module, _NAME, function)
