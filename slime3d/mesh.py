"""Meshes as files have them: every face, in the file's own order."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError

__all__ = ["Mesh", "load_mesh"]

Array = npt.NDArray[Any]


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangles in the file's face order.

    Parameters
    ----------
    vertices : (V, 3) float64
        In the file's own units and axes.
    faces : (F, 3) int64
        Vertex indices; order and count are the file's.
    node : (F,) int32
        Which node of the scene a face belongs to.
    node_names : tuple of str
    """

    vertices: Array
    faces: Array
    node: Array
    node_names: tuple[str, ...]

    def areas(self) -> Array:
        """(F,) float64 face areas in squared file units."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        return np.asarray(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1))

    def welded(self, tolerance: float = 1e-5) -> Array:
        """(V,) int64: an index that vertices at one position share.

        Formats such as glTF split vertices at texture seams and hard edges; adjacency must not see those cuts. For
        adjacency only: faces keep their own vertices. `tolerance` is a share of the bounding box's diagonal.
        """
        low, high = self.vertices.min(0), self.vertices.max(0)
        cell = max(float(np.linalg.norm(high - low)) * tolerance, 1e-12)
        keys = np.round((self.vertices - low) / cell).astype(np.int64)
        return np.asarray(np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1))


def load_mesh(path: Path) -> Mesh:
    """Load a mesh or scene; nothing is merged, dropped or reordered.

    Parameters
    ----------
    path : Path
        Anything trimesh reads: obj, glb, gltf, ply, off, stl ...

    Raises
    ------
    InputError
        Missing, unreadable, without faces (a point cloud), with NaN vertices, or Draco-compressed without its decoder,
        which trimesh would load as zeros.
    """
    import trimesh

    if not path.is_file():
        raise InputError(f"no such mesh: {path}")
    try:
        # OBJ faces are grouped by material unless told not to, which would change their order; then every run of
        # faces is a geometry of its own, and trimesh hands the runs over last to first.
        runs = path.suffix.lower() == ".obj"
        options = {"group_material": False, "maintain_order": True} if runs else {}
        scene = trimesh.load_scene(path, process=False, **options)
    except Exception as error:  # every reader of trimesh raises its own kind
        raise InputError(f"{path}: cannot be read as a mesh ({type(error).__name__}: {error})") from error
    vertices, faces, nodes, names = _flattened(scene, last_first=runs)
    if not faces:
        raise InputError(f"{path}: no faces in it; a point cloud or empty scene cannot be labelled face by face")
    mesh = Mesh(np.concatenate(vertices), np.concatenate(faces), np.concatenate(nodes), tuple(names))
    if not np.isfinite(mesh.vertices).all():
        bad = int((~np.isfinite(mesh.vertices)).any(1).sum())
        raise InputError(f"{path}: {bad} vertices are NaN or infinite; repair the mesh")
    if not np.ptp(mesh.vertices, axis=0).any():
        raise InputError(
            f"{path}: all vertices are equal; if it is Draco-compressed, decompress it (gltf-transform copy) "
            "or install DracoPy"
        )
    return mesh


def _flattened(scene: Any, *, last_first: bool) -> tuple[list[Array], list[Array], list[Array], list[str]]:
    vertices: list[Array] = []
    faces: list[Array] = []
    nodes: list[Array] = []
    names: list[str] = []
    offset = 0
    order = list(scene.graph.nodes_geometry)
    for name in reversed(order) if last_first else order:
        transform, geometry_name = scene.graph[name]
        geometry = scene.geometry[geometry_name]
        if not len(getattr(geometry, "faces", ())):
            continue
        points = np.asarray(geometry.vertices, np.float64)
        vertices.append(points @ transform[:3, :3].T + transform[:3, 3])
        faces.append(np.asarray(geometry.faces, np.int64) + offset)
        nodes.append(np.full(len(geometry.faces), len(names), np.int32))
        names.append(str(name))
        offset += len(points)
    return vertices, faces, nodes, names
