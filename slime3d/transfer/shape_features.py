"""A mesh as transfer sees it: samples, each with its place, its shell's place and form, and its colour."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from slime3d.geometry.face_graph import connected_components, face_adjacency
from slime3d.geometry.surface_sampling import SurfaceSamples, sample_surface
from slime3d.io.mesh import Mesh
from slime3d.rendering.shading import surface_colors
from slimecore.array_types import Array

__all__ = ["MeshSamples", "form_of"]

_ABOUT = 10_000  # samples
_MOST = 30_000  # of a mesh with more faces than that, only so many are asked; the walk tells the rest


@dataclass(frozen=True, slots=True, eq=False)
class MeshSamples:
    """Samples of a mesh and what is known at them.

    Parameters
    ----------
    mesh : Mesh
    surface : Surface
        At most about 30,000 samples.
    pairs : (E, 2) int64
        Faces that touch.
    shell : (F,) int64
        Connected piece of every face.
    middle : (K, 3) float64
        Centroid of every shell.
    spread : (K, 3, 3) float64
        Covariance of every shell's surface.
    color : (S, 3) float64 or None
        RGB 0..1 of every sample.
    radius : float
        Root mean squared distance of the surface from its centroid.
    """

    mesh: Mesh
    surface: SurfaceSamples
    pairs: Array
    shell: Array
    middle: Array
    spread: Array
    color: Array | None
    radius: float

    def places(self, turn: Array, scale: float, shift: Array) -> Array:
        """(S, 9) place of samples, and place and extent of their shells, laid by a similarity; in units of scale 1.

        A sample's own place counts less than its shell's: parts move within a kind, but the front left wheel stays
        the shell at the front left.
        """
        shell = self.shell[self.surface.face]
        own = self.surface.points @ turn.T * scale + shift
        middle = self.middle @ turn.T * scale + shift
        turned = np.einsum("ij,kjl,ml->kim", turn, self.spread, turn)
        extent = np.sqrt(np.einsum("kii->ki", turned).clip(0)) * scale
        return np.concatenate([0.3 * own, middle[shell], extent[shell]], 1)

    def extents(self, turn: Array, scale: float) -> Array:
        """(S, 3) extents of the samples' shells alone, wherever they are."""
        turned = np.einsum("ij,kjl,ml->kim", turn, self.spread, turn)
        return np.asarray((np.sqrt(np.einsum("kii->ki", turned).clip(0)) * scale)[self.shell[self.surface.face]])


def form_of(mesh: Mesh) -> MeshSamples:
    """Sample a mesh and measure its shells."""
    surface = sample_surface(mesh, _ABOUT)
    pairs = face_adjacency(mesh).pairs
    shell = connected_components(len(mesh.faces), pairs)
    owner = shell[surface.face]
    area = np.bincount(owner, surface.area).clip(1e-30)
    middle = np.stack([np.bincount(owner, surface.area * surface.points[:, i]) for i in range(3)], 1) / area[:, None]
    away = surface.points - middle[owner]
    spread = np.stack(
        [np.bincount(owner, surface.area * away[:, i] * away[:, j]) / area for i in range(3) for j in range(3)], 1
    ).reshape(-1, 3, 3)
    whole = np.average(surface.points, axis=0, weights=surface.area)
    radius = float(np.sqrt(np.average(((surface.points - whole) ** 2).sum(1), weights=surface.area)))
    surface = _fewer(surface, owner)
    return MeshSamples(
        mesh, surface, pairs, shell, middle, spread, surface_colors(mesh, surface.face, surface.bary), radius
    )


def _fewer(surface: SurfaceSamples, owner: Array) -> SurfaceSamples:
    """Evenly many by area, and the first of every shell."""
    if len(surface.face) <= _MOST:
        return surface
    total = np.cumsum(surface.area)
    even = np.searchsorted(total, (np.arange(_MOST) + 0.5) / _MOST * total[-1])
    keep = np.unique(np.concatenate([even, np.unique(owner, return_index=True)[1]]))
    return replace(
        surface,
        points=surface.points[keep],
        normals=surface.normals[keep],
        face=surface.face[keep],
        area=surface.area[keep],
        bary=surface.bary[keep],
    )
