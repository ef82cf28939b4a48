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
    solids: list[_Solid] = []
    inside_loop = inside_facet = inside_solid = False
    corners = facets = 0
    for number, line in enumerate(text.split("\n"), 1):
        words = line.split()
        if not words:
            continue
        key = words[0].lower()
        if key == "solid":
            solids.append(_Solid(line.strip()[5:].strip()))
            inside_solid = True
        elif key == "vertex":
            if len(words) != 4 or not inside_loop:
                raise InputError(f"{path}: line {number}: '{line.strip()[:40]}' is no vertex of a facet")
            solids[-1].words += words[1:]
            corners += 1
        elif key == "facet":
            if inside_facet:
                raise InputError(f"{path}: line {number}: a facet begins within a facet; repair the mesh")
            if not solids:
                solids.append(_Solid(""))
            inside_facet = True
            facets += 1
        elif key == "outer":
            inside_loop, corners = inside_facet, 0
        elif key == "endloop":
            if not inside_loop:
                raise InputError(f"{path}: line {number}: endloop without a loop; repair the mesh")
            if corners < 3:
                raise InputError(f"{path}: line {number}: a facet has {corners} vertices, expected 3; repair the mesh")
            solids[-1].sizes.append(corners)
            inside_loop = False
        elif key == "endfacet":
            inside_facet = False
        elif key == "endsolid" or key == "end":
            inside_solid = False
    if inside_loop or inside_facet:
        raise InputError(f"{path}: the file is cut off within a facet; save it again")
    loops = sum(len(solid.sizes) for solid in solids)
    if loops != facets:
        raise InputError(f"{path}: {facets} facets have {loops} loops of vertices; repair the mesh")
    notes = ["the file ends without endsolid"] if inside_solid and any(solid.sizes for solid in solids) else []
    return solids, notes
