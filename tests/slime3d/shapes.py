"""Meshes made by hand."""

from __future__ import annotations

import numpy as np

from slime3d.io.mesh import Mesh


def make_mesh(vertices, faces) -> Mesh:
    faces = np.asarray(faces, np.int64)
    return Mesh(np.asarray(vertices, np.float64), faces, np.zeros(len(faces), np.int32), ("mesh",))


def from_trimesh(shape) -> Mesh:
    return make_mesh(shape.vertices, shape.faces)
