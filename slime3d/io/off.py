"""OFF files, with colours of vertices and faces."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.io.regular_files import decode_text
from slime3d.io.triangulation import triangulate
from slimecore.array_types import Array
from slimecore.errors import InputError

__all__ = ["read_off"]

_HEADER = re.compile(r"(ST)?(C)?(N)?(4)?(n)?OFF\b(\s+BINARY\b)?")


def read_off(path: Path) -> tuple[list[tuple[str, Any]], list[str]]:
    """Read an OFF, COFF, NOFF or STOFF text file.

    Parameters
    ----------
    path : Path

    Returns
    -------
    geometries : list of (str, trimesh.Trimesh)
    notes : list of str
        What was left out or changed, a clause each.

    Raises
    ------
    InputError
        The header is missing, or the file does not hold what it announces.
    """
    import trimesh

    rows = [row for line in decode_text(path.read_bytes()).split("\n") if (row := line.split("#")[0].split())]
    match = _HEADER.fullmatch(" ".join(rows[0][:2] if rows and "BINARY" in rows[0] else rows[0][:1])) if rows else None
    if match is None:
        raise InputError(f"{path}: cannot be read as a mesh; it does not begin with OFF")
    if match[4] or match[5] or match[6]:
        raise InputError(f"{path}: cannot be read as a mesh; {match[0]} is not supported, save it as text OFF or PLY")
    rows = rows[1:] if len(rows[0]) == 1 else [rows[0][1:], *rows[1:]]
    try:
        vertex_count, face_count = (int(word) for word in rows[0][:2])
    except (ValueError, IndexError) as error:
        raise InputError(f"{path}: cannot be read as a mesh; no counts of vertices and faces in its header") from error
    if vertex_count < 0 or face_count < 0:
        raise InputError(f"{path}: cannot be read as a mesh; its header announces {face_count} faces")
    body = rows[1:]
    width = 3 + 3 * bool(match[3])
    if len(body) != vertex_count + face_count:
        body = _regrouped(path, body, vertex_count, face_count, width + 2 * bool(match[1]) + 4 * bool(match[2]))
    table = _numbers(path, [row[:width] for row in body[:vertex_count]], width, "vertex")
    flat, sizes, extras = _faces(path, body[vertex_count:], vertex_count)
    triangles = triangulate(flat, sizes, table[:, :3])
    notes = list(triangles.notes)
    further = [row[width + 2 * bool(match[1]) :] for row in body[:vertex_count]]
    options = _color_options(further if match[2] else [], extras, triangles.polygon, notes)
    if not match[2] and any(further):
        notes.append("further numbers of vertices (colours?) are left out, as the header is not COFF")
    faces = flat[triangles.corners]
    geometry = trimesh.Trimesh(vertices=table[:, :3], faces=faces, process=False, **options)
    return [(path.name, geometry)] if len(faces) else [], notes


def _color_options(
    vertex_words: list[list[str]], face_words: list[list[str]], polygon: Array, notes: list[str]
) -> dict[str, Any]:
    """Return the colours of vertices or else of faces, as options of trimesh.

    Parameters
    ----------
    vertex_words, face_words : list of list of str
        What stands behind the positions and corners; no rows for vertices without colours.
    polygon : (T,) int64
        Face of every triangle.
    notes : list of str
        Receives what is left out.
    """
    options: dict[str, Any] = {}
    face_colors = _colors(face_words)
    if vertex_words:
        vertex_colors = _colors(vertex_words)
        if vertex_colors is None:
            notes.append("colours of vertices are incomplete and are left out")
        else:
            options["vertex_colors"] = vertex_colors
    if any(face_words) and (face_colors is None or options):
        notes.append("colours of faces are left out")
    elif face_colors is not None:
        options["face_colors"] = face_colors[polygon]
    return options


def _regrouped(path: Path, body: list[list[str]], vertex_count: int, face_count: int, width: int) -> list[list[str]]:
    """Return a row for every vertex and face of a file with other line breaks, if its numbers fit exactly."""
    words = [word for row in body for word in row]
    at, rows = 0, []
    for index in range(vertex_count + face_count):
        if at >= len(words):
            break
        size = width if index < vertex_count else 1 + (int(words[at]) if words[at].isdecimal() else 0)
        if at + size > len(words):
            break
        rows.append(words[at : at + size])
        at += size
    if len(rows) == vertex_count + face_count and at == len(words):
        return rows
    found = len(body) - vertex_count
    raise InputError(
        f"{path}: its header announces {vertex_count} vertices and {face_count} faces, but "
        + (f"{found} faces are there" if found >= 0 else f"only {len(body)} lines are there")
        + "; the file is cut off or damaged, save it again"
    )


def _numbers(path: Path, rows: list[list[str]], width: int, kind: str) -> Array:
    try:
        if any(len(row) != width for row in rows):
            raise ValueError
        return np.array(rows, dtype=np.float64).reshape(-1, width)
    except ValueError as error:
        for i, row in enumerate(rows):
            if len(row) != width:
                raise InputError(f"{path}: {kind} {i} has {len(row)} numbers, expected {width}") from error
            for word in row:
                try:
                    float(word)
                except ValueError:
                    hint = "write decimal points, not commas" if "," in word else "repair the mesh"
                    raise InputError(f"{path}: {kind} {i}: '{word[:40]}' is no number; {hint}") from error
        raise


def _faces(path: Path, rows: list[list[str]], vertex_count: int) -> tuple[Array, Array, list[list[str]]]:
    """Return the flat corners, the corners of every face, and the words behind them."""
    flat: list[int] = []
    sizes: list[int] = []
    extras: list[list[str]] = []
    for index, row in enumerate(rows):
        try:
            size = int(row[0])
            corners = [int(word) for word in row[1 : size + 1]]
        except ValueError as error:
            raise InputError(f"{path}: face {index}: '{' '.join(row)[:40]}' is no face; repair the mesh") from error
        if size < 0 or len(corners) != size:
            raise InputError(f"{path}: face {index} has {len(corners)} of {size} corners; repair the mesh")
        flat += corners
        sizes.append(size)
        extras.append(row[size + 1 :])
    table = np.array(flat, np.int64)
    wrong = (table < 0) | (table >= vertex_count)
    if wrong.any():
        raise InputError(f"{path}: a face has vertex {table[wrong][0]}, there are {vertex_count}; repair the mesh")
    return table, np.array(sizes, np.int64), extras


def _colors(rows: list[list[str]]) -> Array | None:
    """Return colours (n, 4) uint8 of the words of all rows, None if any has none.

    A whole number is 0..255, a number with a point is 0..1.
    """
    if not rows or not any(rows):
        return None
    colors = np.full((len(rows), 4), 255, np.uint8)
    seen: dict[tuple[str, ...], list[int] | None] = {}
    for index, row in enumerate(rows):
        key = tuple(row[:4])
        if key not in seen:
            seen[key] = _color(key)
        value = seen[key]
        if value is None:
            return None
        colors[index, : len(value)] = value
    return colors


def _color(words: tuple[str, ...]) -> list[int] | None:
    if len(words) < 3:
        return None
    try:
        real = any("." in word or "e" in word.lower() for word in words)
        return [round(min(max(float(word) * (255 if real else 1), 0), 255)) for word in words]
    except ValueError:
        return None
