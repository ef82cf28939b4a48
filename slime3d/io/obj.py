"""Wavefront OBJ files: every face in the order of its line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.io.mtl import Material, read_materials
from slime3d.io.regular_files import decode_text
from slime3d.io.triangulation import triangulate
from slimecore.array_types import Array
from slimecore.errors import InputError

__all__ = ["read_obj"]

_INTEGER = r"[-+]?\d{1,18}"
# a face line with corners of one kind: v, v/vt, v//vn or v/vt/vn
_PATTERNS = [
    re.compile(rf"(?:{corner}\s+)*{corner}\s*")
    for corner in (
        _INTEGER,
        f"{_INTEGER}/{_INTEGER}",
        f"{_INTEGER}//{_INTEGER}",
        f"{_INTEGER}/{_INTEGER}/{_INTEGER}",
    )
]
_COLUMNS = ((0,), (0, 1), (0, 2), (0, 1, 2))  # what the numbers of a corner are: vertex, texture, normal
_KINDS = ("vertex", "texture coordinate", "normal")
_SURFACES = {"curv", "curv2", "surf"}
_NONE = -1


@dataclass
class _Batch:
    """Consecutive face lines whose corners are of the same kind."""

    columns: tuple[int, ...]
    lines: list[str] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)


@dataclass
class _Content:
    """Statements of a file, in its order."""

    rows: tuple[list[str], list[str], list[str]] = field(default_factory=lambda: ([], [], []))  # of v, vt, vn
    row_lines: list[int] = field(default_factory=list)  # line numbers of v
    batches: list[_Batch] = field(default_factory=list)
    face_lines: list[int] = field(default_factory=list)
    counts: list[tuple[int, int, int]] = field(default_factory=list)  # rows read before a face
    runs: list[tuple[int, str | None, str | None]] = field(default_factory=list)  # first face, material, object
    libraries: list[str] = field(default_factory=list)
    surfaces: int = 0


def read_obj(path: Path) -> tuple[list[tuple[str, Any]], list[str]]:
    """Read an OBJ file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    geometries : list of (str, trimesh.Trimesh)
        Name and triangles of every run of faces with the same material, in the order of the file.
    notes : list of str
        What was left out or changed, a clause each.

    Raises
    ------
    InputError
        Names the line of a statement that is no OBJ, or of an index that does not exist.
    """
    content = _read_statements(path)
    notes = [f"{content.surfaces} free-form surfaces are left out"] if content.surfaces else []
    if not content.face_lines:
        return [], notes
    vertices, colors = _vertices(path, content)
    sizes = np.array([size for batch in content.batches for size in batch.sizes], np.int64)
    corners = _corner_indices(path, content, sizes, len(vertices))
    triangles = triangulate(corners[:, 0], sizes, vertices)
    notes += triangles.notes
    coordinates = _table(path, "vt", content.rows[1], 2) if (corners[:, 1] != _NONE).any() else np.zeros((0, 2))
    if (corners[:, 1] >= len(coordinates)).any() and len(coordinates):
        notes.append("texture coordinates that do not exist are left out")
    corners[corners[:, 1] >= len(coordinates), 1] = _NONE
    materials, problems = read_materials(path, content.libraries)
    notes += [f"{problem}; going on without it" for problem in problems]
    named = dict.fromkeys(run[1] for run in content.runs if run[1] is not None)
    missing = [name for name in named if name not in materials]
    if missing and (materials or not content.libraries):
        shown = ", ".join(missing[:5]) + (", ..." if len(missing) > 5 else "")
        notes.append(f"{len(missing)} materials are in no material file ({shown}); going on without them")
    starts = [run[0] for run in content.runs]
    run_of_triangle = np.searchsorted(starts, triangles.polygon, side="right") - 1
    geometries: list[tuple[str | None, Any]] = []
    for span in _spans(run_of_triangle, corners[triangles.corners], content, materials):
        _, name, object_name = content.runs[int(run_of_triangle[span.start])]
        table = corners[triangles.corners[span]]
        material = None if name is None else materials.get(name)
        if material is not None and colors is not None:
            notes.append("colours of vertices are left out where faces have a material")
        geometries.append((object_name, _geometry(vertices, colors, coordinates, table, material)))
    return _with_unique_names(geometries, path.name), list(dict.fromkeys(notes))


def _read_statements(path: Path) -> _Content:
    """Sort the lines of a file by their keywords."""
    content = _Content()
    tables = dict(zip(("v", "vt", "vn"), content.rows, strict=True))
    material: str | None = None
    thing: str | None = None
    begun = True
    for number, line in _logical_lines(decode_text(path.read_bytes())):
        key, *rest = line.split(None, 1)
        text = rest[0] if rest else ""
        if key == "v":
            content.row_lines.append(number)
        if key in tables:
            tables[key].append(text.split("#")[0])
        elif key in {"f", "fo"}:
            if begun:
                content.runs.append((len(content.face_lines), material, thing))
                begun = False
            _take_face(path, number, text.split("#")[0].rstrip(), content)
        elif key == "usemtl":
            material, begun = _without_comment(text), True
        elif key == "o":
            thing = _without_comment(text)
        else:
            content.libraries += [_without_comment(text)] if key == "mtllib" else []
            content.surfaces += key in _SURFACES
    return content


def _logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """Yield the number and text of all lines with content, joining lines that end with a backslash."""
    pending = ""
    for number, raw in enumerate(text.split("\n"), 1):
        line = pending + raw.strip()
        if line.endswith("\\"):
            pending = line[:-1] + " "
            continue
        pending = ""
        if line and not line.startswith("#"):
            yield number, line
    if pending.strip():
        yield number, pending.strip()


def _without_comment(text: str) -> str:
    return re.split(r"\s#", text)[0].strip()


def _take_face(path: Path, number: int, text: str, content: _Content) -> None:
    """Add a face line to the batch of its kind."""
    batch = content.batches[-1] if content.batches else None
    if batch is None or not _PATTERNS[_COLUMNS.index(batch.columns)].fullmatch(text):
        kind = next((i for i, pattern in enumerate(_PATTERNS) if pattern.fullmatch(text)), None)
        if kind is None:  # corners of several kinds, or with needless slashes
            text, kind = _uniform_corners(path, number, text), 3
        if batch is None or batch.columns != _COLUMNS[kind]:
            batch = _Batch(_COLUMNS[kind])
            content.batches.append(batch)
    batch.lines.append(text)
    batch.sizes.append(len(text.split()))
    content.face_lines.append(number)
    content.counts.append((len(content.rows[0]), len(content.rows[1]), len(content.rows[2])))


def _uniform_corners(path: Path, number: int, text: str) -> str:
    """Return corners of several kinds as v/vt/vn, with a large number for what they do not have."""
    corners = []
    for word in text.split():
        parts = word.split("/")
        if len(parts) > 3 or not re.fullmatch(_INTEGER, parts[0]):
            raise InputError(f"{path}: line {number}: '{word[:40]}' is no corner of a face; repair the mesh")
        if any(part and not re.fullmatch(_INTEGER, part) for part in parts):
            raise InputError(f"{path}: line {number}: '{word[:40]}' is no corner of a face; repair the mesh")
        corners.append("/".join(part or str(_MISSING) for part in (*parts, "", "")[:3]))
    return " ".join(corners)


_MISSING = 2**62  # an index that a file cannot have


def _corner_indices(path: Path, content: _Content, sizes: Array, vertex_count: int) -> Array:
    """Return vertex, texture and normal (C, 3) int64 of all corners, counted from 0, -1 = none."""
    corners = np.full((int(sizes.sum()), 3), _NONE, np.int64)
    at = 0
    for batch in content.batches:
        text = " ".join(batch.lines).replace("//", "/").replace("/", " ")
        table = np.fromstring(text, np.int64, sep=" ").reshape(-1, len(batch.columns))
        corners[at : at + len(table), batch.columns] = table
        if batch.columns != (0, 1, 2):
            absent = [i for i in range(3) if i not in batch.columns]
            corners[at : at + len(table), absent] = _MISSING
        at += len(table)
    face = np.repeat(np.arange(len(sizes)), sizes)
    counts = np.array(content.counts, np.int64)
    for column, kind in enumerate(_KINDS):
        index = corners[:, column]
        zero = np.flatnonzero(index == 0)
        if len(zero):
            line = content.face_lines[int(face[zero[0]])]
            raise InputError(f"{path}: line {line}: a face has {kind} 0, but OBJ counts from 1; repair the mesh")
        relative = index < 0
        index[relative] += counts[face[relative], column] + 1
        beyond = (index > vertex_count) & (index != _MISSING) & (column == 0)
        wrong = np.flatnonzero((index < 1) | beyond)
        if len(wrong):
            line, value = content.face_lines[int(face[wrong[0]])], int(index[wrong[0]])
            raise InputError(
                f"{path}: cannot be read as a mesh; line {line}: a face has {kind} {value}, "
                f"there are {int(counts[-1, column]) if column else vertex_count}; repair the mesh"
            )
        corners[:, column] = np.where(index == _MISSING, _NONE, index - 1)
    return corners


def _vertices(path: Path, content: _Content) -> tuple[Array, Array | None]:
    """Return positions (V, 3) and colours (V, 3), None without colours."""
    rows = content.rows[0]
    widths = np.array([len(row.split()) for row in rows], np.int64)
    if not len(rows):
        return np.zeros((0, 3)), None
    if widths.min() < 3:
        line = content.row_lines[int(widths.argmin())]
        raise InputError(f"{path}: line {line}: a vertex has {widths.min()} numbers, expected 3; repair the mesh")
    table = _table(path, "v", rows, 6 if widths.min() >= 6 else 3, content.row_lines)
    return table[:, :3], table[:, 3:6] if table.shape[1] == 6 else None


def _table(path: Path, key: str, rows: list[str], width: int, lines: list[int] | None = None) -> Array:
    """Return the first `width` numbers of all rows."""
    try:
        if all(len(row.split()) == width for row in rows):
            numbers = np.fromstring(" ".join(rows), np.float64, sep=" ")
            if len(numbers) == width * len(rows):
                return numbers.reshape(-1, width)
    except (ValueError, DeprecationWarning):  # reported below
        pass
    words = [row.split()[:width] for row in rows]
    try:
        padded = [row + ["0"] * (width - len(row)) for row in words]  # vt with one coordinate
        return np.array(padded).astype(np.float64)
    except ValueError as error:
        for i, row in enumerate(words):
            for word in row:
                if not _is_number(word):
                    where = f"line {lines[i]}" if lines else f"{key} {i + 1}"
                    hint = "; write decimal points, not commas" if "," in word else "; repair the mesh"
                    raise InputError(f"{path}: {where}: '{word[:40]}' is no number{hint}") from error
        raise


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _spans(
    run_of_triangle: Array, corners: Array, content: _Content, materials: dict[str, Material]
) -> Iterator[slice]:
    """Yield slices of triangles of one run, and within textured runs of one kind: with or without coordinates."""
    textured = np.array([run[1] in materials and materials[run[1]].image is not None for run in content.runs], bool)
    mapped = (corners[:, :, 1] != _NONE).all(1) & textured[run_of_triangle]
    change = (np.diff(run_of_triangle) != 0) | np.diff(mapped)
    edges = [0, *(np.flatnonzero(change) + 1).tolist(), len(run_of_triangle)]
    for start, stop in pairwise(edges):
        if stop > start:
            yield slice(start, stop)


def _geometry(
    vertices: Array, colors: Array | None, coordinates: Array, corners: Array, material: Material | None
) -> Any:
    """Return the trimesh geometry of triangles with corners (T, 3, 3): vertex, texture and normal."""
    import trimesh
    from trimesh.visual.material import SimpleMaterial
    from trimesh.visual.texture import TextureVisuals, unmerge_faces

    places, texture, normal = (np.ascontiguousarray(corners[:, :, i]) for i in range(3))
    uv = None
    split = [table for table in (texture, normal) if (table != _NONE).all()]
    if split:  # in the order of trimesh, whose vertices the labels of earlier versions had
        faces, of_vertex, *others = unmerge_faces(places, *split)
        if split[0] is texture and len(coordinates):
            uv = coordinates[others[0]]
    else:
        of_vertex, faces = np.unique(places, return_inverse=True)
        faces = faces.reshape(-1, 3)
    options: dict[str, Any] = {}
    if material is not None:
        if uv is not None:
            uv = uv * material.scale + material.offset
        color = None if material.color is None else list(material.color)
        options["visual"] = TextureVisuals(uv=uv, material=SimpleMaterial(image=material.image, diffuse=color))
    elif colors is not None:
        options["vertex_colors"] = colors[of_vertex]
    return trimesh.Trimesh(vertices=vertices[of_vertex], faces=faces, process=False, **options)


def _with_unique_names(geometries: list[tuple[str | None, Any]], file_name: str) -> list[tuple[str, Any]]:
    """Name geometries by their object, or by the file; the last has the plain name, others a number."""
    from trimesh.util import unique_name

    taken: dict[str, int] = {}
    counts: dict[str | None, int] = {}
    names = []
    for name, _ in reversed(geometries):
        unique = unique_name(name or file_name, taken, counts)
        taken[unique] = 1
        names.append(unique)
    return [(name, geometry) for name, (_, geometry) in zip(reversed(names), geometries, strict=True)]
