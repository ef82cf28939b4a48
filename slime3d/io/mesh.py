"""Triangle meshes with all faces in the order of their file."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.io.file_headers import (
    declared_face_count,
    gltf_fans,
    gltf_head,
    original_names,
    repaired_gltf,
    require_decoder,
    require_memory,
)
from slime3d.io.materials import Appearance, appearance_of
from slime3d.io.triangulation import polygons_in_order
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
    import trimesh

    if not path.is_file():
        raise InputError(f"no such mesh: {path}" + (", it is a folder" if path.is_dir() else ""))
    head = gltf_head(path)
    require_decoder(path, head)
    require_memory(path, declared_face_count(path, head))
    # By default trimesh groups OBJ faces by material, which changes their order. Without grouping, every run of faces
    # is a separate geometry, and trimesh returns the runs in reverse order.
    obj_runs = path.suffix.lower() == ".obj"
    options = {"group_material": False} if obj_runs else {}
    with _collect_trimesh_warnings() as messages, polygons_in_order() as polygons:
        try:
            data = repaired_gltf(path, head)
            type_option = {"resolver": _neighbours(path)} if data is None else {"file_type": path.suffix[1:].lower()}
            scene = trimesh.load_scene(path if data is None else data, process=False, **type_option, **options)
        except Exception as error:  # every reader of trimesh raises its own type
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"{path}: cannot be read as a mesh ({reason})") from error
    vertices, faces_of_node, names, geometries = _flatten_scene(scene, last_first=obj_runs)
    if not faces_of_node:
        raise InputError(f"{path}: no faces in it; a point cloud or empty scene cannot be labelled face by face")
    for points, corners in zip(vertices, faces_of_node, strict=True):
        if corners.min() < 0 or corners.max() >= len(points):
            bad_index = corners.min() if corners.min() < 0 else corners.max()
            raise InputError(f"{path}: a face has vertex {bad_index}, there are {len(points)}; repair the mesh")
    notes = tuple(f"{path.name}: {text}; going on without it" for text in messages)
    if fans := gltf_fans(head):
        notes += (f"{path.name}: {fans} triangle fans cannot be read; going on without them",)
    if any(polygons):
        notes += (
            f"{path.name}: {sum(polygons)} polygons are cut into triangles where they stand; labels count triangles",
        )
    counts = [len(corners) for corners in faces_of_node]
    require_memory(path, sum(counts))
    starts = np.cumsum([0, *map(len, vertices[:-1])])
    faces = np.concatenate([corners + start for corners, start in zip(faces_of_node, starts, strict=True)])
    mesh = Mesh(
        _move_invalid_vertices(np.concatenate(vertices), faces),
        faces,
        np.repeat(np.arange(len(faces_of_node), dtype=np.int32), counts),
        tuple(original_names(head, names)),
        appearance_of(geometries, faces_of_node, linear=path.suffix.lower() in {".glb", ".gltf"}),
        notes,
    )
    _require_surface(path, mesh)
    return mesh


def _neighbours(path: Path) -> Any:
    """Return trimesh's access to the files beside a mesh, regular files only: a pipe or device may never end."""
    from trimesh.resolvers import FilePathResolver

    class RegularFiles(FilePathResolver):  # type: ignore[misc] # trimesh has no types
        def absolute(self, name: str) -> Path:
            file = Path(super().absolute(name))
            if file.exists() and not file.is_file():
                raise ValueError(f"{name} is no regular file")
            return file

    return RegularFiles(str(path.absolute()))


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


@contextmanager
def _collect_trimesh_warnings() -> Iterator[list[str]]:
    """Yield a list that collects trimesh's log messages about missing textures and materials."""
    messages: list[str] = []

    class Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = " ".join(record.getMessage().split())
            if (
                any(word in text for word in ("image", "material", "texture"))
                and "load" in text
                and text not in messages
            ):
                messages.append(text)

    logger, collector = logging.getLogger("trimesh"), Collector(logging.DEBUG)
    level, propagate = logger.level, logger.propagate
    logger.addHandler(collector)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        with warnings.catch_warnings():  # e.g. an empty slice, if faces have no texture coordinates
            warnings.simplefilter("ignore", RuntimeWarning)
            yield messages
    finally:
        logger.removeHandler(collector)
        logger.setLevel(level)
        logger.propagate = propagate


def _flatten_scene(scene: Any, *, last_first: bool) -> tuple[list[Array], list[Array], list[str], list[Any]]:
    """Return vertices in scene coordinates, faces, names and geometries of all nodes with faces.

    Parameters
    ----------
    scene : trimesh.Scene
    last_first : bool
        Reverse the order of the nodes.

    Returns
    -------
    vertices : list of (n, 3) float64
    faces : list of (m, 3) int64
        Indices into the node's vertices.
    names : list of str
    geometries : list of trimesh.Trimesh
    """
    vertices: list[Array] = []
    faces: list[Array] = []
    names: list[str] = []
    geometries: list[Any] = []
    order = list(scene.graph.nodes_geometry)
    for name in reversed(order) if last_first else order:
        transform, geometry_name = scene.graph[name]
        geometry = scene.geometry[geometry_name]
        if not len(getattr(geometry, "faces", ())):
            continue
        points = np.asarray(geometry.vertices, np.float64)
        with np.errstate(invalid="ignore"):  # infinite positions are reported later
            vertices.append(points @ transform[:3, :3].T + transform[:3, 3])
        corners = np.asarray(geometry.faces, np.int64)
        mirrored = np.linalg.det(transform[:3, :3]) < 0  # a mirroring transform inverts the winding (glTF)
        faces.append(corners[:, ::-1] if mirrored else corners)
        names.append(str(name))
        geometries.append(geometry)
    return vertices, faces, names, geometries
