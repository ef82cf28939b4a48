"""PLY files: counts compared with the header, and polygons cut into triangles, before trimesh reads them."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.io.triangulation import Triangulation, triangulate
from slimecore.array_types import Array
from slimecore.errors import InputError

__all__ = ["checked_ply"]

_TYPES = {
    **dict.fromkeys(("char", "int8"), "i1"),
    **dict.fromkeys(("uchar", "uint8"), "u1"),
    **dict.fromkeys(("short", "int16"), "i2"),
    **dict.fromkeys(("ushort", "uint16"), "u2"),
    **dict.fromkeys(("int", "int32"), "i4"),
    **dict.fromkeys(("uint", "uint32"), "u4"),
    **dict.fromkeys(("float", "float32"), "f4"),
    **dict.fromkeys(("double", "float64"), "f8"),
    "int64": "i8",
    "uint64": "u8",
    "float16": "f2",
}
_NAMES = {"i1": "char", "u1": "uchar", "i2": "short", "u2": "ushort", "i4": "int", "u4": "uint", "f4": "float"}
_NAMES |= {"f8": "double", "i8": "int64", "u8": "uint64", "f2": "float16"}
_INDEX_NAMES = ("vertex_indices", "vertex_index")


@dataclass
class _Property:
    """A number of an element, or a list where `count` is the type of its length."""

    name: str
    kind: str
    count: str = ""


@dataclass
class _Element:
    name: str
    count: int
    properties: list[_Property] = field(default_factory=list)
    values: dict[str, Array] = field(default_factory=dict)  # numbers, or the flat numbers of lists
    sizes: dict[str, Array] = field(default_factory=dict)  # lengths of lists


@dataclass
class _Header:
    form: str  # ascii, < or >
    elements: list[_Element]
    comments: list[str]
    end: int  # offset of the body


def checked_ply(path: Path) -> tuple[bytes | None, int, list[str]]:
    """Compare a PLY file with its header and cut its polygons.

    Parameters
    ----------
    path : Path

    Returns
    -------
    data : bytes or None
        The file in triangles, None if it can be read as it is.
    faces : int
        Number of its triangles.
    notes : list of str
        What was left out or changed, a clause each.

    Raises
    ------
    InputError
        The header is none of PLY, or the file is cut off or holds more than it announces.
    """
    data = path.read_bytes()
    header = _read_header(path, data)
    faces = next((element for element in header.elements if element.name == "face"), None)
    if faces is None or not faces.count:
        strips = [e.name for e in header.elements if e.name in {"tristrips", "tristrip"} and e.count]
        if strips:
            raise InputError(f"{path}: triangle strips cannot be read; save the mesh with faces")
        return None, 0, []
    index_name = _index_property(path, faces)
    rest = _read_text(path, data, header) if header.form == "ascii" else _read_binary(path, data, header)
    notes = [f"{rest} bytes behind the {faces.count} announced faces are left out"] if rest else []
    sizes, flat = faces.sizes[index_name], faces.values[index_name].astype(np.int64)
    vertices = next((element for element in header.elements if element.name == "vertex"), None)
    if vertices is None or not all(axis in vertices.values for axis in "xyz"):
        raise InputError(f"{path}: cannot be read as a mesh; it has no vertices with x, y and z")
    wrong = (flat < 0) | (flat >= vertices.count)
    if wrong.any():
        raise InputError(f"{path}: a face has vertex {flat[wrong][0]}, there are {vertices.count}; repair the mesh")
    if (sizes == 3).all() and not rest:
        return None, len(sizes), notes
    if (sizes == 3).all() and header.form != "ascii":
        return data[: len(data) - rest], len(sizes), notes
    positions = np.stack([vertices.values[axis].astype(np.float64) for axis in "xyz"], 1)
    triangles = triangulate(flat, sizes, positions)
    notes += triangles.notes
    written = _write(header, faces, index_name, triangles, notes)
    return written, len(triangles.corners), notes


def _read_header(path: Path, data: bytes) -> _Header:
    lines: list[str] = []
    at = 0
    while not lines or lines[-1] != "end_header":
        end = data.find(b"\n", at)
        carriage = data.find(b"\r", at, end if end >= 0 else len(data))
        if carriage >= 0 and data[carriage + 1 : carriage + 2] != b"\n":
            end = carriage
        if end < 0 or at > 1 << 20 or (not lines and data[:3] != b"ply"):
            raise InputError(f"{path}: cannot be read as a mesh; it has no header of a PLY file")
        lines.append(data[at:end].decode("latin-1").strip())
        at = end + 1
    header = _Header("", [], [], at)
    for line in filter(None, lines[1:-1]):
        try:
            _take_header_line(header, line)
        except (ValueError, KeyError, IndexError) as error:
            raise InputError(f"{path}: cannot be read as a mesh; its header has '{line[:60]}'") from error
    if not header.form or any(element.count < 0 for element in header.elements):
        raise InputError(f"{path}: cannot be read as a mesh; its header has no format or a negative count")
    return header


def _take_header_line(header: _Header, line: str) -> None:
    words = line.split()
    if words[0] == "format":
        header.form = {"ascii": "ascii", "binary_little_endian": "<", "binary_big_endian": ">"}[words[1]]
    elif words[0] in {"comment", "obj_info"}:
        header.comments.append(line)
    elif words[0] == "element":
        header.elements.append(_Element(words[1], int(words[2])))
    elif words[0] == "property" and words[1] == "list":
        header.elements[-1].properties.append(_Property(words[4], _TYPES[words[3]], _TYPES[words[2]]))
    elif words[0] == "property":
        header.elements[-1].properties.append(_Property(words[2], _TYPES[words[1]]))
    else:
        raise ValueError(words[0])


def _index_property(path: Path, faces: _Element) -> str:
    lists = [p.name for p in faces.properties if p.count]
    named = [name for name in lists if name in _INDEX_NAMES]
    if named or len(lists) == 1:
        return (named or lists)[0]
    raise InputError(f"{path}: cannot be read as a mesh; its faces have no list vertex_indices")


def _cut_off(path: Path, element: _Element, there: int) -> InputError:
    return InputError(
        f"{path}: its header announces {element.count} of element {element.name}, but {there} are there; the file is "
        "cut off or damaged, save it again"
    )


def _read_text(path: Path, data: bytes, header: _Header) -> int:
    """Read the elements of a text body, a line each; refuse further lines."""
    lines = [line.decode("latin-1") for line in data[header.end :].splitlines() if line.strip()]
    at = 0
    for element in header.elements:
        rows = lines[at : at + element.count]
        if len(rows) < element.count:
            raise _cut_off(path, element, len(rows))
        at += element.count
        try:
            _take_rows(element, rows)
        except (ValueError, IndexError, OverflowError) as error:
            raise InputError(
                f"{path}: cannot be read as a mesh; a line of element {element.name} has not the numbers of its header"
            ) from error
    if at < len(lines):
        raise InputError(
            f"{path}: {len(lines) - at} lines stand behind the elements that the header announces; save the mesh again"
        )
    return 0


def _take_rows(element: _Element, rows: list[str]) -> None:
    """Take the numbers of lines into the values of an element."""
    if not any(p.count for p in element.properties):
        width = len(element.properties)
        table = np.array([row.split() for row in rows]).reshape(-1, width) if rows else np.zeros((0, width))
        for column, part in enumerate(element.properties):
            element.values[part.name] = _of_kind(table[:, column], part.kind)
        return
    words: dict[str, list[str]] = {part.name: [] for part in element.properties}
    sizes: dict[str, list[int]] = {part.name: [] for part in element.properties if part.count}
    for row in rows:
        items = row.split()
        at = 0
        for part in element.properties:
            size = 1
            if part.count:
                size = int(items[at])
                sizes[part.name].append(size)
                at += 1
            if size < 0 or at + size > len(items):
                raise ValueError
            words[part.name] += items[at : at + size]
            at += size
        if at != len(items):
            raise ValueError
    for part in element.properties:
        element.values[part.name] = _of_kind(np.array(words[part.name]), part.kind)
        if part.count:
            element.sizes[part.name] = np.array(sizes[part.name], np.int64)


def _of_kind(words: Array, kind: str) -> Array:
    """Convert words to numbers; whole numbers may be written with a point."""
    if not len(words):
        return np.zeros(0, kind)
    numbers = words.astype(np.float64)
    return numbers.astype(kind) if kind[0] == "f" else numbers.astype(np.int64).astype(kind)


def _read_binary(path: Path, data: bytes, header: _Header) -> int:
    """Read the elements of a binary body and return the number of bytes behind them."""
    at = header.end
    for element in header.elements:
        if not any(p.count for p in element.properties):
            dtype = np.dtype([(p.name, header.form + p.kind) for p in element.properties])
            there = (len(data) - at) // dtype.itemsize if dtype.itemsize else element.count
            if there < element.count:
                raise _cut_off(path, element, there)
            table = np.frombuffer(data, dtype, element.count, at)
            at += dtype.itemsize * element.count
            element.values.update({p.name: table[p.name] for p in element.properties})
            continue
        at = _take_lists(path, data, at, header.form, element)
    return len(data) - at


def _take_lists(path: Path, data: bytes, at: int, form: str, element: _Element) -> int:
    """Read an element with lists from the offset `at` and return the offset behind it."""
    parts = element.properties
    sizes: dict[str, list[int]] = {p.name: [] for p in parts if p.count}
    chunks: dict[str, list[Array]] = {p.name: [] for p in parts}
    row, window = 0, 64
    while row < element.count:
        first = _row_sizes(data, at, form, parts)
        if first is None:
            raise _cut_off(path, element, row)
        dtype = _row_type(form, parts, first)
        fitting = (len(data) - at) // dtype.itemsize
        same = np.frombuffer(data, dtype, min(element.count - row, fitting, window), at)
        if not len(same):
            raise _cut_off(path, element, row)
        # rows up to the first whose lists have other lengths
        equal = np.ones(len(same), bool)
        for part in (p for p in parts if p.count):
            equal &= same["size of " + part.name] == first[part.name]
        length = len(same) if equal.all() else int(equal.argmin())
        window = 2 * window if length == len(same) else 64
        for part in parts:
            chunks[part.name].append(same[part.name][:length].reshape(-1))
            if part.count:
                sizes[part.name] += [first[part.name]] * length
        row += length
        at += length * dtype.itemsize
    for part in parts:
        parts_of_list = chunks[part.name]
        element.values[part.name] = np.concatenate(parts_of_list) if parts_of_list else np.zeros(0, part.kind)
        if part.count:
            element.sizes[part.name] = np.array(sizes[part.name], np.int64)
    return at


def _row_sizes(data: bytes, at: int, form: str, parts: list[_Property]) -> dict[str, int] | None:
    """Return the lengths of the lists of the row at an offset, None if the file ends within the row."""
    sizes = {}
    for part in parts:
        size = 1
        if part.count:
            dtype = np.dtype(form + part.count)
            if at + dtype.itemsize > len(data):
                return None
            size = int(np.frombuffer(data, dtype, 1, at)[0])
            if size < 0:
                return None
            sizes[part.name] = size
            at += dtype.itemsize
        at += size * np.dtype(part.kind).itemsize
        if at > len(data):
            return None
    return sizes


def _row_type(form: str, parts: list[_Property], sizes: dict[str, int]) -> np.dtype[Any]:
    fields: list[Any] = []
    for part in parts:
        if part.count:
            fields.append(("size of " + part.name, form + part.count))
            fields.append((part.name, form + part.kind, (sizes[part.name],)))
        else:
            fields.append((part.name, form + part.kind))
    return np.dtype(fields)


def _write(header: _Header, faces: _Element, index_name: str, triangles: Triangulation, notes: list[str]) -> bytes:
    """Return a binary PLY with vertices and triangles, and all their properties."""
    corners, polygon = triangles.corners, triangles.polygon
    vertices = next(element for element in header.elements if element.name == "vertex")
    lines = ["ply", "format binary_little_endian 1.0", *header.comments, f"element vertex {vertices.count}"]
    numbers = [p for p in vertices.properties if not p.count]
    lines += [f"property {_NAMES[p.kind]} {p.name}" for p in numbers]
    lines.append(f"element face {len(corners)}")
    table = np.zeros(vertices.count, [(p.name, "<" + p.kind) for p in numbers])
    for part in numbers:
        table[part.name] = vertices.values[part.name]
    fields: list[Any] = []
    columns: dict[str, Array] = {}
    sizes = faces.sizes[index_name]
    for part in faces.properties:
        if part.name == index_name:
            fields += [("size of corners", "u1"), (part.name, "<i4", (3,))]
            columns["size of corners"] = np.full(len(corners), 3)
            columns[part.name] = faces.values[part.name][corners]
            lines.append(f"property list uchar int {part.name}")
        elif part.count and (faces.sizes[part.name] == 2 * sizes).all():  # texture coordinates of the corners
            fields += [("size of " + part.name, "u1"), (part.name, "<" + part.kind, (6,))]
            columns["size of " + part.name] = np.full(len(corners), 6)
            columns[part.name] = faces.values[part.name].reshape(-1, 2)[corners].reshape(-1, 6)
            lines.append(f"property list uchar {_NAMES[part.kind]} {part.name}")
        elif part.count:
            notes.append(f"the lists {part.name} of faces are left out")
        else:
            fields.append((part.name, "<" + part.kind))
            columns[part.name] = faces.values[part.name][polygon]
            lines.append(f"property {_NAMES[part.kind]} {part.name}")
    rows = np.zeros(len(corners), fields)
    for name, column in columns.items():
        rows[name] = column
    lines.append("end_header\n")
    return "\n".join(lines).encode("latin-1", errors="replace") + table.tobytes() + rows.tobytes()
