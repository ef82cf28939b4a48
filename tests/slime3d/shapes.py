"""Meshes made by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import trimesh
from PIL import Image

from slime3d.io.mesh import Mesh

FORMATS = ("obj", "ply", "off", "stl", "glb", "gltf")
QUARTERS = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 0]]], np.uint8)


def make_mesh(vertices, faces) -> Mesh:
    faces = np.asarray(faces, np.int64)
    return Mesh(np.asarray(vertices, np.float64), faces, np.zeros(len(faces), np.int32), ("mesh",))


def from_trimesh(shape) -> Mesh:
    return make_mesh(shape.vertices, shape.faces)


def grid(n=4):
    """A flat grid of 2 n n triangles."""
    y, x = np.mgrid[: n + 1, : n + 1]
    quads = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()[:, None]
    faces = np.concatenate([quads + np.array([0, 1, n + 2]), quads + np.array([0, n + 2, n + 1])])
    return np.stack([x.ravel() / n, y.ravel() / n, 0 * x.ravel()], 1), faces


def square(visual=None):
    """Return the square -1..1 in the plane z = 0."""
    shape = trimesh.Trimesh([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    if visual is not None:
        shape.visual = visual
    return shape


def textured_square():
    """Return the square with a texture of four quarters in QUARTERS' colours."""
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 1]])
    image = Image.fromarray(QUARTERS.repeat(32, 0).repeat(32, 1))
    return square(trimesh.visual.TextureVisuals(uv, image=image))


def two_shells(gap: float):
    """Return two spheres of radius 1 with a gap between them."""
    left = trimesh.creation.icosphere(subdivisions=2)
    right = trimesh.creation.icosphere(subdivisions=2)
    right.apply_translation([2 + gap, 0, 0])
    return from_trimesh(trimesh.util.concatenate([left, right]))


def moved(mesh: Mesh, turn=None, scale=1.0, shift=0.0) -> Mesh:
    """Return the mesh turned, scaled and shifted."""
    return replace(mesh, vertices=mesh.vertices @ (np.eye(3) if turn is None else turn).T * scale + shift)


def export_mesh(mesh, folder, kind):
    """Export a trimesh shape into a folder in a format of FORMATS and return the path."""
    path = folder / f"m.{kind}"
    if kind == "gltf":
        for name, data in trimesh.exchange.gltf.export_gltf(trimesh.Scene(mesh)).items():
            (path if name == "model.gltf" else folder / name).write_bytes(data)
    else:
        mesh.export(path)
    return path
