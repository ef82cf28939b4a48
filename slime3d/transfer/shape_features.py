"""Surface samples with the features of label transfer: position, centroid and extents of the shell, and colour."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from slime3d.geometry.face_graph import connected_components, face_adjacency
from slime3d.geometry.surface_sampling import SurfaceSamples, sample_surface
from slime3d.io.mesh import Mesh
from slime3d.rendering.shading import surface_colors
from slimecore.array_types import Array

__all__ = ["MeshSamples", "form_of"]

_TARGET_SAMPLES = 10_000  # samples of a mesh, at least one for every face
_MAX_SAMPLES = 30_000  # on meshes with more faces, the random walk labels the faces without a sample
_POSITION_WEIGHT = 0.3  # of a sample's position beside the centroid of its shell


@dataclass(frozen=True, slots=True, eq=False)
class MeshSamples:
    """Samples of a mesh and their features.

    Parameters
    ----------
    mesh : Mesh
    surface : SurfaceSamples
        S samples, at most about 30,000.
    pairs : (E, 2) int64
        Adjacent faces.
    shell : (F,) int64
        Shell (connected component) of every face.
    shell_centroid : (K, 3) float64
        Centroid of every shell.
    shell_covariance : (K, 3, 3) float64
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
    shell_centroid: Array
    shell_covariance: Array
    color: Array | None
    radius: float

    def places(self, turn: Array, scale: float, shift: Array) -> Array:
        """Compute position features (S, 9) under a similarity transform.

        They are the sample's position times 0.3, and the centroid and extents of its shell. Positions count less,
        because parts move within a category while the front left wheel stays the shell at the front left.

        Parameters
        ----------
        turn : (3, 3) float64
            Rotation matrix.
        scale : float
        shift : (3,) float64
            Translation.

        Returns
        -------
        (S, 9) float64
        """
        shell = self.shell[self.surface.face]
        position = self.surface.points @ turn.T * scale + shift
        centroid = self.shell_centroid @ turn.T * scale + shift
        covariance = np.einsum("ij,kjl,ml->kim", turn, self.shell_covariance, turn)
        extent = np.sqrt(np.einsum("kii->ki", covariance).clip(0)) * scale
        return np.concatenate([_POSITION_WEIGHT * position, centroid[shell], extent[shell]], 1)

    def extents(self, turn: Array, scale: float) -> Array:
        """Compute the extents (S, 3) of the samples' shells, standard deviations along the rotated axes."""
        covariance = np.einsum("ij,kjl,ml->kim", turn, self.shell_covariance, turn)
        return np.asarray((np.sqrt(np.einsum("kii->ki", covariance).clip(0)) * scale)[self.shell[self.surface.face]])


def form_of(mesh: Mesh) -> MeshSamples:
    """Sample a mesh and measure its shells."""
    surface = sample_surface(mesh, _TARGET_SAMPLES)
    pairs = face_adjacency(mesh).pairs
    shell = connected_components(len(mesh.faces), pairs)
    sample_shell = shell[surface.face]
    area = np.bincount(sample_shell, surface.area).clip(1e-30)
    shell_centroid = (
        np.stack([np.bincount(sample_shell, surface.area * surface.points[:, i]) for i in range(3)], 1) / area[:, None]
    )
    offset = surface.points - shell_centroid[sample_shell]
    shell_covariance = np.stack(
        [
            np.bincount(sample_shell, surface.area * offset[:, i] * offset[:, j]) / area
            for i in range(3)
            for j in range(3)
        ],
        1,
    ).reshape(-1, 3, 3)
    centroid = np.average(surface.points, axis=0, weights=surface.area)
    radius = float(np.sqrt(np.average(((surface.points - centroid) ** 2).sum(1), weights=surface.area)))
    surface = _subsample(surface, sample_shell)
    return MeshSamples(
        mesh,
        surface,
        pairs,
        shell,
        shell_centroid,
        shell_covariance,
        surface_colors(mesh, surface.face, surface.bary),
        radius,
    )


def _subsample(surface: SurfaceSamples, sample_shell: Array) -> SurfaceSamples:
    """Return `_MAX_SAMPLES` samples, evenly spread by area, and the first sample of every shell."""
    if len(surface.face) <= _MAX_SAMPLES:
        return surface
    total = np.cumsum(surface.area)
    evenly = np.searchsorted(total, (np.arange(_MAX_SAMPLES) + 0.5) / _MAX_SAMPLES * total[-1])
    keep = np.unique(np.concatenate([evenly, np.unique(sample_shell, return_index=True)[1]]))
    return replace(
        surface,
        points=surface.points[keep],
        normals=surface.normals[keep],
        face=surface.face[keep],
        area=surface.area[keep],
        bary=surface.bary[keep],
    )
