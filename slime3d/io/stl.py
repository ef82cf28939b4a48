"""STL files, binary and text."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.io.regular_files import decode_text
from slime3d.io.triangulation import triangulate
from slimecore.array_types import Array
from slimecore.errors import InputError

__all__ = ["read_stl"]

_HEADER_BYTES = 84
_FACET = np.dtype([("normal", "<f4", 3), ("vertices", "<f4", (3, 3)), ("attribute", "<u2")])


def read_stl(path: Path) -> tuple[list[tuple[str, Any]], list[str]]:
    """Read an STL file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    geometries : list of (str, trimesh.Trimesh)
        Triangles of every solid.
    notes : list of str
        What was left out or changed, a clause each.

    Raises
    ------
    InputError
        The file is cut off or damaged.
    """
    data = path.read_bytes()
    count = struct.unpack_from("<I", data, 80)[0] if len(data) >= _HEADER_BYTES else 0
    start = data[:2048].lstrip(b"\xef\xbb\xbf \t\r\n\0").lower()
    exact = len(data) == _HEADER_BYTES + _FACET.itemsize * count and len(data) >= _HEADER_BYTES
    if not exact and (start.startswith(b"solid") or b"facet" in start) and b"\0" not in data[:2048]:
        return _read_text(path, decode_text(data))
    if len(data) < _HEADER_BYTES:
        raise InputError(f"{path}: cannot be read as a mesh; {len(data)} bytes are too few for an STL file")
    return _read_binary(path, data, count)


def _read_binary(path: Path, data: bytes, count: int) -> tuple[list[tuple[str, Any]], list[str]]:
    there, rest = divmod(len(data) - _HEADER_BYTES, _FACET.itemsize)
    if there < count or (count == 0 and there):
        raise InputError(
            f"{path}: its header announces {count} facets, but {there} are there; the file is cut off or damaged, "
            "save it again"
        )
    notes = []
    extra = (there - count) * _FACET.itemsize + rest
    if extra:
        notes.append(f"{extra} bytes behind the {count} announced facets are left out")
    facets = np.frombuffer(data, _FACET, count, _HEADER_BYTES)
    if facets["attribute"].any():
        notes.append("attributes (colours?) of facets are left out")
    vertices = facets["vertices"].reshape(-1, 3)
    return [(path.name, _geometry(vertices, np.arange(len(vertices)).reshape(-1, 3)))] if count else [], notes


def _geometry(vertices: Array, faces: Array) -> Any:
    import trimesh

    return trimesh.Trimesh(vertices=vertices, faces=faces, process=False)


class _Solid:
    """Facets of a text solid."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.words: list[str] = []
        self.sizes: list[int] = []


def _read_text(path: Path, text: str) -> tuple[list[tuple[str, Any]], list[str]]:
    solids, notes = _solids(path, text)
    geometries: list[tuple[str, Any]] = []
    taken: dict[str, int] = {}
    several = sum(bool(solid.sizes) for solid in solids) > 1
    for solid in solids:
        if not solid.sizes:
            continue
        try:
            vertices = np.array(solid.words).astype(np.float64).reshape(-1, 3)
        except ValueError as error:
            hint = "write decimal points, not commas" if any("," in word for word in solid.words) else "repair the mesh"
            raise InputError(f"{path}: a vertex of solid '{solid.name}' is no number; {hint}") from error
        sizes = np.array(solid.sizes, np.int64)
        triangles = triangulate(np.arange(len(vertices)), sizes, vertices)
        notes += triangles.notes
        name = solid.name if several and solid.name else path.name
        taken[name] = taken.get(name, -1) + 1
        geometries.append((f"{name}_{taken[name]}" if taken[name] else name, _geometry(vertices, triangles.corners)))
    return geometries, list(dict.fromkeys(notes))


def _solids(path: Path, text: str) -> tuple[list[_Solid], list[str]]:
    """Return the solids of a text file."""
    reader = _TextReader()
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words:
            continue
        try:
            reader.take(words[0].lower(), words, line.strip())
        except ValueError as error:
            raise InputError(f"{path}: line {number}: {error}; repair the mesh") from error
    if reader.corners is not None or reader.in_facet:
        raise InputError(f"{path}: the file is cut off within a facet; save it again")
    solids = reader.solids
    loops = sum(len(solid.sizes) for solid in solids)
    if loops != reader.facets:
        raise InputError(f"{path}: {reader.facets} facets have {loops} loops of vertices; repair the mesh")
    return solids, ["the file ends without endsolid"] if reader.in_solid and loops else []


class _TextReader:
    """State between the lines of a text STL."""

    def __init__(self) -> None:
        self.solids: list[_Solid] = []
        self.in_solid = self.in_facet = False
        self.corners: int | None = None  # of the open loop
        self.facets = 0

    def take(self, key: str, words: list[str], line: str) -> None:
        """Take a line; raise ValueError where it cannot stand."""
        if key == "vertex":
            if len(words) != 4 or self.corners is None:
                raise ValueError(f"'{line[:40]}' is no vertex of a facet")
            self.solids[-1].words += words[1:]
            self.corners += 1
        elif key in {"facet", "endfacet"}:
            if self.in_facet == (key == "facet"):
                raise ValueError(f"'{line[:40]}' stands in the wrong place")
            self.in_facet = key == "facet"
            self.facets += self.in_facet
            self.solids += [] if self.solids else [_Solid("")]
        elif key == "outer" and self.in_facet:
            self.corners = 0
        elif key == "endloop":
            if self.corners is None or self.corners < 3:
                raise ValueError(f"a facet has {self.corners or 0} vertices, expected 3")
            self.solids[-1].sizes.append(self.corners)
            self.corners = None
        elif key == "solid":
            self.solids.append(_Solid(line[5:].strip()))
            self.in_solid = True
        elif key in {"endsolid", "end"}:
            self.in_solid = False
