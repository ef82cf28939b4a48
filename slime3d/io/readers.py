"""Readers of mesh formats: positions, faces and visuals of all nodes, in the order of the file.

OBJ, OFF and STL are read here. trimesh reads the others, after what it would misread is made plain.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.io.file_headers import original_names
from slime3d.io.gltf_document import read_gltf
from slime3d.io.gltf_rewrite import expected_faces, rewrite_gltf
from slime3d.io.obj import read_obj
from slime3d.io.off import read_off
from slime3d.io.ply import checked_ply
from slime3d.io.regular_files import ResolverOfRegularFiles
from slime3d.io.stl import read_stl
from slimecore.array_types import Array
from slimecore.errors import InputError, SlimeError

__all__ = ["Parts", "read_parts"]

_READERS = {".obj": read_obj, ".off": read_off, ".stl": read_stl}


@dataclass
class Parts:
    """Content of a mesh file, an item per node with faces.

    Parameters
    ----------
    vertices : list of (n, 3) float64
        Positions in scene coordinates.
    faces : list of (m, 3) int64
        Indices into the node's vertices.
    names : list of str
    geometries : list of trimesh.Trimesh
    notes : list of str
        What is left out or changed, a clause each.
    """

    vertices: list[Array] = field(default_factory=list)
    faces: list[Array] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    geometries: list[Any] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def add(self, name: str, geometry: Any, transform: Array) -> None:
        """Add a node, unless it has no faces.

        Parameters
        ----------
        name : str
        geometry : trimesh.Trimesh
            Or any other geometry of trimesh, which is left out.
        transform : (4, 4) float64
            From the node to the scene.
        """
        if not len(getattr(geometry, "faces", ())):
            return
        points = np.asarray(geometry.vertices, np.float64)
        with np.errstate(invalid="ignore"):  # infinite positions are reported later
            self.vertices.append(points @ transform[:3, :3].T + transform[:3, 3])
        corners = np.asarray(geometry.faces, np.int64)
        mirrored = np.linalg.det(transform[:3, :3]) < 0  # a mirroring transform inverts the winding (glTF)
        self.faces.append(corners[:, ::-1] if mirrored else corners)
        self.names.append(name)
        self.geometries.append(geometry)


def read_parts(path: Path) -> Parts:
    """Read a mesh file.

    Raises
    ------
    InputError
        The file cannot be read, or it holds another number of faces than it announces.
    """
    suffix = path.suffix.lower()
    try:
        if suffix in _READERS:
            geometries, notes = _READERS[suffix](path)
            parts = Parts(notes=notes)
            for name, geometry in geometries:
                parts.add(name, geometry, np.eye(4))
            return parts
        if suffix in {".glb", ".gltf"}:
            return _read_gltf(path)
        if suffix == ".ply":
            data, expected, notes = checked_ply(path)
            parts = _checked(path, _read_by_trimesh(path, data, notes), expected)
            parts.names = [path.name] * len(parts.names)
            return parts
        return _read_by_trimesh(path, None, [])
    except (SlimeError, MemoryError):
        raise
    except Exception as error:  # every reader of trimesh raises its own type
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: cannot be read as a mesh ({reason})") from error


def _read_gltf(path: Path) -> Parts:
    document = read_gltf(path)
    data, notes = rewrite_gltf(document)
    expected = expected_faces(document)
    parts = _checked(path, _read_by_trimesh(path, data, notes), expected)
    parts.names = original_names(document.head, parts.names)
    return parts


def _checked(path: Path, parts: Parts, expected: int) -> Parts:
    """Refuse parts with another number of faces than the file announces."""
    found = sum(len(faces) for faces in parts.faces)
    if found != expected:
        raise InputError(f"{path}: cannot be read as a mesh; {expected} faces are announced, but {found} are read")
    return parts


def _read_by_trimesh(path: Path, data: bytes | None, notes: list[str]) -> Parts:
    """Read a file, or `data` in its place, by trimesh."""
    import trimesh

    suffix = path.suffix.lower()
    file_type = "glb" if suffix == ".gltf" else suffix[1:]
    with _collect_trimesh_warnings() as messages:
        stream = io.BytesIO(path.read_bytes() if data is None else data)
        scene = trimesh.load_scene(stream, file_type=file_type, resolver=ResolverOfRegularFiles(path), process=False)
    parts = Parts(notes=[*notes, *(f"{text}; going on without it" for text in messages)])
    for name in scene.graph.nodes_geometry:
        transform, geometry_name = scene.graph[name]
        parts.add(str(name), scene.geometry[geometry_name], transform)
    return parts


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
