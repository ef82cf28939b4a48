"""Triangle meshes with all faces in the order of their file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from slime3d.io.file_headers import declared_face_count, gltf_head, require_decoder, require_memory
from slime3d.io.materials import Appearance, appearance_of
from slime3d.io.readers import read_parts
from slime3d.io.regular_files import require_regular_file
from slimecore.array_types import Array
from slimecore.errors import InputError

__all__ = ["MESH_SUFFIXES", "Mesh", "load_mesh"]

MESH_SUFFIXES = (".obj", ".glb", ".gltf", ".ply", ".off", ".stl", ".3mf", ".dae")

_NO_COLORS = Appearance(None, None, np.zeros(0, np.int32), ())


@dataclass(frozen=True, slots=True, eq=False)
class Mesh:
    """Triangle mesh in the face order of its file.

    Parameters
    ----------
    vertices : (V, 3) float64
        Positions in the units and axes of the file.
    faces : (F, 3) int64
        Vertex indices, in the order and number of the file.
    node : (F,) int32
        Scene node of every face.
    node_names : tuple of str
    appearance : Appearance
        Colours and textures.
    notes : tuple of str
        Warnings about skipped content, a sentence each.
    """

    vertices: Array
    faces: Array
    node: Array
    node_names: tuple[str, ...]
    appearance: Appearance = _NO_COLORS
    notes: tuple[str, ...] = ()

    def used(self) -> Array:
        """Return the positions (U, 3) float64 of all vertices that belong to a face."""
        return np.asarray(self.vertices[np.unique(self.faces)])

    def middles(self) -> Array:
        """Return the centroids (F, 3) float64 of the faces."""
        return np.asarray(self.vertices[self.faces].mean(1))

    def normals(self) -> Array:
        """Return the unit normals (F, 3) float64 by the winding, zeros for faces without area."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        return np.asarray(np.divide(normal, length, out=np.zeros_like(normal), where=length > 0))

    def corner_normals(self, crease: float, most: int = 64) -> Array:
        """Compute smooth normals at the corners of faces, for shading.

        Normals of faces at the same position are averaged, weighted by area. Faces with opposite winding count with
        inverted normal.

        Parameters
        ----------
        crease : float
            Largest angle between averaged normals, radians.
        most : int
            Faces keep their own normal at positions with more corners.

        Returns
        -------
        (F, 3, 3) float64
            Unit vectors.
        """
        normals, areas = self.normals(), self.areas()
        corner = self.welded()[self.faces].reshape(-1)
        count = np.bincount(corner)
        start = np.cumsum(count) - count
        order = np.argsort(corner, kind="stable")
        rank = np.zeros_like(order)
        rank[order] = np.arange(len(order)) - start[corner[order]]
        face_normal = np.repeat(normals, 3, axis=0)
        out = face_normal * np.repeat(areas, 3)[:, None]
        corner_count = np.where(count <= most, count, 1)
        for step in range(1, int(corner_count.max())):  # pair each corner with the others at its position, in turn
            corners = np.flatnonzero(corner_count[corner] > step)
            vertex = corner[corners]
            other = order[start[vertex] + (rank[corners] + step) % count[vertex]] // 3
            cosine = (face_normal[corners] * normals[other]).sum(1)
            smooth = np.abs(cosine) >= np.cos(crease)
            out[corners[smooth]] += normals[other[smooth]] * (np.sign(cosine) * areas[other])[smooth, None]
        out /= np.linalg.norm(out, axis=1, keepdims=True).clip(1e-30)
        return np.asarray(out.reshape(-1, 3, 3))

    def areas(self) -> Array:
        """Return the face areas (F,) float64 in squared file units."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        return np.asarray(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1))

    def welded(self, tolerance: float = 1e-5) -> Array:
        """Return an index that is equal for vertices at the same position.

        Formats like glTF split vertices at texture seams and hard edges, and adjacency must ignore the splits. Faces
        keep their own vertices. Vertices without a face have an arbitrary index.

        Parameters
        ----------
        tolerance : float
            Grid size for equal positions, as a share of the bounding box's diagonal.

        Returns
        -------
        (V,) int64
        """
        used = np.unique(self.faces)  # a vertex without a face may lie far away and would enlarge the box
        points = self.vertices[used]
        origin, high = points.min(0), points.max(0)
        cell = max(float(np.linalg.norm(high - origin)) * tolerance, 1e-12)
        keys = np.round((points - origin) / cell).astype(np.int64)
        index = np.zeros(len(self.vertices), np.int64)
        index[used] = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
        return index


def load_mesh(path: Path | str) -> Mesh:
    """Load a mesh or scene without merging, dropping or reordering faces.

    Parameters
    ----------
    path : Path or str
        Any format of trimesh: obj, glb, gltf, ply, off, stl ...

    Returns
    -------
    Mesh

    Raises
    ------
    InputError
        The file is missing or unreadable, has no faces (a point cloud) or NaN vertices, or is Draco-compressed and
        the decoder is not installed.
    """
    path = Path(path)
    require_regular_file(path)
    head = gltf_head(path)
    require_decoder(path, head)
    require_memory(path, declared_face_count(path, head))
    parts = read_parts(path)
    if not parts.faces:
        raise InputError(f"{path}: no faces in it; a point cloud or empty scene cannot be labelled face by face")
    vertices, faces_of_node = parts.vertices, parts.faces
    for points, corners in zip(vertices, faces_of_node, strict=True):
        if corners.min() < 0 or corners.max() >= len(points):
            bad_index = corners.min() if corners.min() < 0 else corners.max()
            raise InputError(f"{path}: a face has vertex {bad_index}, there are {len(points)}; repair the mesh")
    counts = [len(corners) for corners in faces_of_node]
    require_memory(path, sum(counts))
    starts = np.cumsum([0, *map(len, vertices[:-1])])
    faces = np.concatenate([corners + start for corners, start in zip(faces_of_node, starts, strict=True)])
    problems: list[str] = []
    appearance = appearance_of(
        parts.geometries, faces_of_node, linear=path.suffix.lower() in {".glb", ".gltf"}, problems=problems
    )
    mesh = Mesh(
        _move_invalid_vertices(np.concatenate(vertices), faces),
        faces,
        np.repeat(np.arange(len(faces_of_node), dtype=np.int32), counts),
        tuple(parts.names),
        appearance,
        tuple(f"{path.name}: {note}" for note in dict.fromkeys([*parts.notes, *problems])),
    )
    _require_surface(path, mesh)
    return mesh


def _move_invalid_vertices(vertices: Array, faces: Array) -> Array:
    """Move vertices with NaN or infinite coordinates, in place, onto a valid vertex if they belong to no face."""
    invalid: Array = np.asarray(~np.isfinite(vertices).all(1))
    if invalid.any():
        invalid[faces] = False
        vertices[invalid] = vertices[faces[0, 0]]
    return vertices


def _require_surface(path: Path, mesh: Mesh) -> None:
    """Refuse meshes with invalid vertices or without area."""
    corners = mesh.vertices[mesh.faces]
    if not np.isfinite(corners).all():
        bad_count = int((~np.isfinite(mesh.vertices)).any(1).sum())
        raise InputError(f"{path}: {bad_count} vertices are NaN or infinite; repair the mesh")
    if not np.ptp(corners.reshape(-1, 3), axis=0).any():
        raise InputError(
            f"{path}: all vertices are equal; if it is Draco-compressed, decompress it (gltf-transform copy) "
            "or install DracoPy"
        )
    if not mesh.areas().any():
        raise InputError(f"{path}: no face has any area; repair the mesh")
