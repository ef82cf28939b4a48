"""Meshes as files have them: every face, in the file's own order."""

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
    appearance : Appearance
        Colours and textures.
    notes : tuple of str
        What loading left out, one sentence each.
    """

    vertices: Array
    faces: Array
    node: Array
    node_names: tuple[str, ...]
    appearance: Appearance = _NO_COLORS
    notes: tuple[str, ...] = ()

    def used(self) -> Array:
        """(U, 3) float64 positions that faces use; a file may hold others."""
        return np.asarray(self.vertices[np.unique(self.faces)])

    def middles(self) -> Array:
        """(F, 3) float64 centroids of the faces."""
        return np.asarray(self.vertices[self.faces].mean(1))

    def normals(self) -> Array:
        """(F, 3) float64 unit normals by the winding; zeros for faces without area."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        normal = np.cross(b - a, c - a)
        length = np.linalg.norm(normal, axis=1, keepdims=True)
        return np.asarray(np.divide(normal, length, out=np.zeros_like(normal), where=length > 0))

    def corner_normals(self, crease: float, most: int = 64) -> Array:
        """(F, 3, 3) float64 normals for shading: neighbours that bend less than `crease` radians are averaged in.

        Windings may disagree: a neighbour turned over counts by its back. Where more than `most` corners meet, faces
        keep their own normal.
        """
        normals, areas = self.normals(), self.areas()
        corner = self.welded()[self.faces].reshape(-1)
        count = np.bincount(corner)
        start = np.cumsum(count) - count
        order = np.argsort(corner, kind="stable")
        rank = np.zeros_like(order)
        rank[order] = np.arange(len(order)) - start[corner[order]]
        own = np.repeat(normals, 3, axis=0)
        out = own * np.repeat(areas, 3)[:, None]
        meeting = np.where(count <= most, count, 1)
        for step in range(1, int(meeting.max())):  # each corner meets the others at its place, one by one
            mine = np.flatnonzero(meeting[corner] > step)
            place = corner[mine]
            other = order[start[place] + (rank[mine] + step) % count[place]] // 3
            cosine = (own[mine] * normals[other]).sum(1)
            near = np.abs(cosine) >= np.cos(crease)
            out[mine[near]] += normals[other[near]] * (np.sign(cosine) * areas[other])[near, None]
        out /= np.linalg.norm(out, axis=1, keepdims=True).clip(1e-30)
        return np.asarray(out.reshape(-1, 3, 3))

    def areas(self) -> Array:
        """(F,) float64 face areas in squared file units."""
        a, b, c = (self.vertices[self.faces[:, i]] for i in range(3))
        return np.asarray(0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=1))

    def welded(self, tolerance: float = 1e-5) -> Array:
        """(V,) int64: an index that vertices at one position share.

        Formats such as glTF split vertices at texture seams and hard edges; adjacency must not see those cuts. For
        adjacency only: faces keep their own vertices. `tolerance` is a share of the diagonal of the box around the
        faces. Vertices that no face uses get any index.
        """
        used = np.unique(self.faces)  # one that no face uses may lie anywhere, and would make the cells as large
        points = self.vertices[used]
        low, high = points.min(0), points.max(0)
        cell = max(float(np.linalg.norm(high - low)) * tolerance, 1e-12)
        keys = np.round((points - low) / cell).astype(np.int64)
        place = np.zeros(len(self.vertices), np.int64)
        place[used] = np.unique(keys, axis=0, return_inverse=True)[1].reshape(-1)
        return place


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
        raise InputError(f"no such mesh: {path}" + (", it is a folder" if path.is_dir() else ""))
    head = gltf_head(path)
    require_decoder(path, head)
    require_memory(path, declared_face_count(path, head))
    # OBJ faces are grouped by material unless told not to, which would change their order; then every run of
    # faces is a geometry of its own, and trimesh hands the runs over last to first.
    runs = path.suffix.lower() == ".obj"
    options = {"group_material": False} if runs else {}
    with _listening() as said, polygons_in_order() as cuts:
        try:
            data = repaired_gltf(path, head)
            given = {} if data is None else {"file_type": path.suffix[1:].lower()}
            scene = trimesh.load_scene(path if data is None else data, process=False, **given, **options)
        except Exception as error:  # every reader of trimesh raises its own kind
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            raise InputError(f"{path}: cannot be read as a mesh ({reason})") from error
    vertices, local, names, geometries = _flattened(scene, last_first=runs)
    if not local:
        raise InputError(f"{path}: no faces in it; a point cloud or empty scene cannot be labelled face by face")
    for points, corners in zip(vertices, local, strict=True):
        if corners.min() < 0 or corners.max() >= len(points):
            bad = corners.min() if corners.min() < 0 else corners.max()
            raise InputError(f"{path}: a face has vertex {bad}, there are {len(points)}; repair the mesh")
    notes = tuple(f"{path.name}: {text}; going on without it" for text in said)
    if fans := gltf_fans(head):
        notes += (f"{path.name}: {fans} triangle fans cannot be read; going on without them",)
    if any(cuts):
        notes += (f"{path.name}: {sum(cuts)} polygons are cut into triangles where they stand; labels count triangles",)
    counts = [len(corners) for corners in local]
    require_memory(path, sum(counts))
    starts = np.cumsum([0, *map(len, vertices[:-1])])
    faces = np.concatenate([corners + start for corners, start in zip(local, starts, strict=True)])
    mesh = Mesh(
        _without_strays(np.concatenate(vertices), faces),
        faces,
        np.repeat(np.arange(len(local), dtype=np.int32), counts),
        tuple(original_names(head, names)),
        appearance_of(geometries, local, linear=path.suffix.lower() in {".glb", ".gltf"}),
        notes,
    )
    _require_shape(path, mesh)
    return mesh


def _without_strays(vertices: Array, faces: Array) -> Array:
    """Vertices, with those that are no numbers and that no face uses moved onto one that is used."""
    stray: Array = np.asarray(~np.isfinite(vertices).all(1))
    if stray.any():
        stray[faces] = False
        vertices[stray] = vertices[faces[0, 0]]
    return vertices


def _require_shape(path: Path, mesh: Mesh) -> None:
    corners = mesh.vertices[mesh.faces]
    if not np.isfinite(corners).all():
        bad = int((~np.isfinite(mesh.vertices)).any(1).sum())
        raise InputError(f"{path}: {bad} vertices are NaN or infinite; repair the mesh")
    if not np.ptp(corners.reshape(-1, 3), axis=0).any():
        raise InputError(
            f"{path}: all vertices are equal; if it is Draco-compressed, decompress it (gltf-transform copy) "
            "or install DracoPy"
        )
    if not mesh.areas().any():
        raise InputError(f"{path}: no face has any area; repair the mesh")


@contextmanager
def _listening() -> Iterator[list[str]]:
    """Collect what trimesh tells its log about textures and materials it could not load."""
    said: list[str] = []

    class Ear(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            text = " ".join(record.getMessage().split())
            if any(word in text for word in ("image", "material", "texture")) and "load" in text and text not in said:
                said.append(text)

    logger, ear = logging.getLogger("trimesh"), Ear(logging.DEBUG)
    level, passes = logger.level, logger.propagate
    logger.addHandler(ear)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    try:
        with warnings.catch_warnings():  # such as an empty slice, where some faces have no texture coordinates
            warnings.simplefilter("ignore", RuntimeWarning)
            yield said
    finally:
        logger.removeHandler(ear)
        logger.setLevel(level)
        logger.propagate = passes


def _flattened(scene: Any, *, last_first: bool) -> tuple[list[Array], list[Array], list[str], list[Any]]:
    """Of every node with faces: vertices in the scene, faces by their numbers in these, name, geometry."""
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
        with np.errstate(invalid="ignore"):  # infinite positions are found later, and named
            vertices.append(points @ transform[:3, :3].T + transform[:3, 3])
        corners = np.asarray(geometry.faces, np.int64)
        mirrored = np.linalg.det(transform[:3, :3]) < 0  # glTF: then the winding is the other way round
        faces.append(corners[:, ::-1] if mirrored else corners)
        names.append(str(name))
        geometries.append(geometry)
    return vertices, faces, names, geometries
