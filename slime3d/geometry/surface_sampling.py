"""Points spread evenly over the surface of a mesh."""

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
        Face of the mesh each sample lies on.
    area : (S,) float64
        Piece of the surface it stands for.
    spacing : float
        Distance samples typically have.
    bary : (S, 3) float64
        Where in its face it lies.
    """

    points: Array
    normals: Array
    face: Array
    area: Array
    spacing: float
    bary: Array


def sample_surface(mesh: Mesh, about: int) -> SurfaceSamples:
    """Samples spread evenly: every face has one, large ones more (a low-discrepancy sequence, nothing random).

    Parameters
    ----------
    mesh : Mesh
    about : int
        How many there are on a mesh of small faces of equal size; never fewer than faces.
    """
    areas = mesh.areas()
    total = float(areas.sum())
    count = np.maximum(1, np.round(areas / total * max(about, len(areas)))).astype(np.int64)
    face = np.repeat(np.arange(len(areas)), count)
    rank = np.arange(len(face)) - np.repeat(np.cumsum(count) - count, count)
    u, v = (0.5 + rank * 0.7548776662466927) % 1, (0.5 + rank * 0.5698402909980532) % 1
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    single = count[face] == 1
    u, v = np.where(single, 1 / 3, u), np.where(single, 1 / 3, v)
    bary = np.stack([1 - u - v, u, v], 1)
    points = np.einsum("sc,scd->sd", bary, mesh.vertices[mesh.faces[face]])
    return SurfaceSamples(
        points, mesh.normals()[face], face, (areas / count)[face], float(np.sqrt(total / about)), bary
    )
