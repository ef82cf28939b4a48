"""Renderers: which face each pixel shows. One file each, found by its name, with ``build()``.

Ids, depths and barycentric coordinates follow docs/conventions.md, whatever made them. Renderers agree up to pixels
whose centre two faces share; depths that tie go to the lowest face id.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from slime3d.rendering.cameras import Cameras
from slimecore.array_types import Array
from slimecore.errors import ConfigError

__all__ = ["NEAR", "Fragments", "Renderer", "build_renderer", "fragments_of"]

NEAR = 1e-6  # faces with a vertex nearer than this share of the farthest vertex's depth are dropped


@dataclass(frozen=True, slots=True, eq=False)
class Fragments:
    """What the pixels of N views show.

    Parameters
    ----------
    face_id : (N, h, w) int32
        Index into the mesh's faces; -1 = none.
    depth : (N, h, w) float32
        Distance along the camera axis in the file's units; infinite where there is no face.
    bary : (N, h, w, 3) float32
        Perspective-correct barycentric coordinates in the order of the face's vertices; 0 where there is no face.
    """

    face_id: Array
    depth: Array
    bary: Array


class Renderer(Protocol):
    """What every renderer offers."""

    def rasterize(self, vertices: Array, faces: Array, cameras: Cameras) -> Fragments:
        """Nearest face of every pixel; both sides of a face are shown.

        Parameters
        ----------
        vertices : (V, 3) float64
        faces : (F, 3) int
        cameras : Cameras
        """
        ...


def build_renderer(name: str = "zbuffer") -> Renderer:
    """Renderer by name.

    Raises
    ------
    UnknownPlugin
        No such file.
    ConfigError
        What it needs is not installed.
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
    """Depths and barycentric coordinates of given face ids (N, h, w)."""
    shape = face_id.shape
    depth, bary = np.full(shape, np.inf, np.float32), np.zeros((*shape, 3), np.float32)
    for view in range(shape[0]):
        y, x = np.nonzero(face_id[view] >= 0)
        pixels, z = (a[0] for a in cameras[view : view + 1].project(vertices))
        corners = faces[face_id[view, y, x]]
        a, b, c = (pixels[corners[:, i]] for i in range(3))
        point = np.stack([x + 0.5, y + 0.5], -1)
        # Areas of the triangles against each side, over depths: perspective-correct up to their sum.
        weights = np.stack([_cross(b - point, c - point), _cross(c - point, a - point), _cross(a - point, b - point)])
        weights = (weights / weights.sum(0)).clip(0, 1)
        weights /= weights.sum(0) * z[corners].T
        inverse = weights.sum(0)
        bary[view, y, x] = (weights / inverse).T
        depth[view, y, x] = 1 / inverse
    return Fragments(face_id, depth, bary)


def _cross(a: Array, b: Array) -> Array:
    return np.asarray(a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0])
