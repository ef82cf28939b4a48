"""Rasterisers that return the face id of every pixel. Each is a module with ``build()``, found by its name.

Ids, depths and barycentric coordinates of all renderers follow docs/reference/conventions.md. Renderers may differ only
at pixels whose centre lies on two faces. At equal depth the lowest face id wins.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from slime3d.rendering.cameras import Cameras
from slimecore.array_types import Array
from slimecore.errors import ConfigError

__all__ = ["NEAR", "Fragments", "Renderer", "build_renderer", "fragments_of"]

NEAR = 1e-6  # share of the largest vertex depth; faces with a nearer vertex are dropped


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """Visible face, depth and barycentric coordinates of the pixels of N views.

    Parameters
    ----------
    face_id : (N, h, w) int32
        Index into the mesh's faces, -1 = none.
    depth : (N, h, w) float32
        Distance along the camera axis in the file's units, infinite for pixels without a face.
    bary : (N, h, w, 3) float32
        Perspective-correct barycentric coordinates in the order of the face's vertices, 0 for pixels without a face.
    """

    face_id: Array
    depth: Array
    bary: Array


class Renderer(Protocol):
    """Interface of all renderers."""

    def rasterize(self, vertices: Array, faces: Array, cameras: Cameras) -> Fragments:
        """Find the nearest face of every pixel, without culling back faces.

        Parameters
        ----------
        vertices : (V, 3) float64
        faces : (F, 3) int
        cameras : Cameras

        Returns
        -------
        Fragments
        """
        ...


def build_renderer(name: str = "zbuffer") -> Renderer:
    """Build a renderer by name.

    Raises
    ------
    UnknownPlugin
        No renderer has this name.
    ConfigError
        A dependency of the renderer is not installed.
    """
    from slimecore.runtime.plugins import load

    try:
        renderer: Renderer = load("slime3d.rendering.renderers", name).build()
    except ImportError as error:
        missing = (error.name or str(error)).split(".")[0]
        hints = {
            "embree": "install it with pip install 'slime-toolkit[mesh]', or ",
            "pytorch3d": "it is on no package index, CONTRIBUTING.md says how to build it; or ",
        }
        message = (
            f"renderer {name} needs {missing}, which is not installed; {hints.get(name, '')}use --renderer zbuffer"
        )
        raise ConfigError(message) from error
    return renderer


def fragments_of(face_id: Array, vertices: Array, faces: Array, cameras: Cameras) -> Fragments:
    """Compute depths and perspective-correct barycentric coordinates of given face ids.

    Parameters
    ----------
    face_id : (N, h, w) int32
        -1 = none.
    vertices : (V, 3) float64
    faces : (F, 3) int
    cameras : Cameras

    Returns
    -------
    Fragments
    """
    shape = face_id.shape
    depth, bary = np.full(shape, np.inf, np.float32), np.zeros((*shape, 3), np.float32)
    for view in range(shape[0]):
        y, x = np.nonzero(face_id[view] >= 0)
        pixels, z = (a[0] for a in cameras[view : view + 1].project(vertices))
        corners = faces[face_id[view, y, x]]
        a, b, c = (pixels[corners[:, i]] for i in range(3))
        point = np.stack([x + 0.5, y + 0.5], -1)
        # Areas of the sub-triangles divided by depth are perspective-correct up to normalisation.
        weights = np.stack([_cross(b - point, c - point), _cross(c - point, a - point), _cross(a - point, b - point)])
        weights = (weights / weights.sum(0)).clip(0, 1)
        weights /= weights.sum(0) * z[corners].T
        inverse = weights.sum(0)
        bary[view, y, x] = (weights / inverse).T
        depth[view, y, x] = 1 / inverse
    return Fragments(face_id, depth, bary)


def _cross(a: Array, b: Array) -> Array:
    """Return the z component of the cross products of vectors (P, 2)."""
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
