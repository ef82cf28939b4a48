"""Triangulation of polygons in the order of the file.

trimesh reorders faces: triangles, first halves of quads, second halves of quads, then fans of larger polygons. Face
labels must follow the file, so trimesh's function is replaced during loading.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import numpy as np

from slimecore.array_types import Array

__all__ = ["fan_triangulate", "polygons_in_order"]

_PATCHED_FUNCTION = "triangulate_quads"
_PATCHED_MODULES = ("trimesh.geometry", "trimesh.exchange.off", "trimesh.exchange.ply")


def fan_triangulate(polygons: Any) -> Array:
    """Triangulate polygons with k corners to fans of k - 2 triangles, in the order of the polygons.

    Parameters
    ----------
    polygons : (n, k) int array, or sequence of n sequences of int
        Polygons with fewer than three corners are left out.

    Returns
    -------
    (T, 3) int64
    """
    try:
        table = np.array(polygons, np.int64)
        corners, flat = np.full(len(table), table.shape[1]), table.reshape(-1)
    except ValueError:  # polygons of different lengths
        corners = np.array([len(p) for p in polygons])
        flat = np.array([int(c) for p in polygons for c in p], np.int64)
    count = (corners - 2).clip(0)
    first = np.repeat(np.cumsum(corners) - corners, count)
    step = np.arange(int(count.sum())) - np.repeat(np.cumsum(count) - count, count)
    return np.asarray(np.stack([flat[first], flat[first + step + 1], flat[first + step + 2]], 1))


@contextmanager
def polygons_in_order() -> Iterator[list[int]]:
    """Make trimesh triangulate by :func:`fan_triangulate` within the context.

    Yields
    ------
    list of int
        Number of triangulated polygons of every call so far.
    """
    polygon_counts: list[int] = []

    def triangulate(quads: Any, dtype: Any = np.int64, use_fan: bool = True) -> Array:
        if isinstance(quads, np.ndarray) and quads.ndim == 2 and quads.shape[1] == 3:
            return quads.astype(dtype)
        if not len(quads):
            return np.zeros((0, 3), dtype)
        faces = fan_triangulate(quads)
        if len(faces) != len(quads):
            polygon_counts.append(sum(len(p) > 3 for p in quads))
        return faces.astype(dtype)

    modules = [m for m in map(import_module, _PATCHED_MODULES) if hasattr(m, _PATCHED_FUNCTION)]
    originals = [getattr(m, _PATCHED_FUNCTION) for m in modules]
    try:
        for module in modules:
            setattr(module, _PATCHED_FUNCTION, triangulate)
        yield polygon_counts
    finally:
        for module, function in zip(modules, originals, strict=True):
            setattr(module, _PATCHED_FUNCTION, function)
