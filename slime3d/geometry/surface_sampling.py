"""Evenly spread samples of the surface of a mesh, without randomness."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slime3d.io.mesh import Mesh
from slimecore.array_types import Array

__all__ = ["SurfaceSamples", "sample_surface"]


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceSamples:
    """Samples of a surface.

    Parameters
    ----------
    points, normals : (S, 3) float64
    face : (S,) int64
        Face of every sample.
    area : (S,) float64
        Area of the surface represented by every sample, in squared file units.
    spacing : float
        Typical distance between neighbouring samples, in file units.
    bary : (S, 3) float64
        Barycentric coordinates in the face.
    """

    points: Array
    normals: Array
    face: Array
    area: Array
    spacing: float
    bary: Array


def sample_surface(mesh: Mesh, target_count: int) -> SurfaceSamples:
    """Sample every face at least once, and large faces in proportion to their area.

    Samples within a face follow the R2 low-discrepancy sequence (Roberts, 2018).

    Parameters
    ----------
    mesh : Mesh
    target_count : int
        Approximate number of samples of a mesh of small faces of equal size. At least one sample a face is taken.

    Returns
    -------
    SurfaceSamples
    """
    areas = mesh.areas()
    total = float(areas.sum())
    count = np.maximum(1, np.round(areas / total * max(target_count, len(areas)))).astype(np.int64)
    face = np.repeat(np.arange(len(areas)), count)
    rank = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    u, v = (0.5 + rank * 0.7548776662466927) % 1, (0.5 + rank * 0.5698402909980532) % 1
    outside = u + v > 1
    u, v = np.where(outside, 1 - u, u), np.where(outside, 1 - v, v)
    single = count[face] == 1
    u, v = np.where(single, 1 / 3, u), np.where(single, 1 / 3, v)
    bary = np.stack([1 - u - v, u, v], 1)
    points = np.einsum("sc,scd->sd", bary, mesh.vertices[mesh.faces[face]])
    return SurfaceSamples(
        points, mesh.normals()[face], face, (areas / count)[face], float(np.sqrt(total / target_count)), bary
    )
