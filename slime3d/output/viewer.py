"""Viewer page ``viewer.html`` of a labelled mesh, a single file without network access or libraries.

The page is ``assets/viewer.html`` (WebGL 2, plain JavaScript) with the mesh embedded: 31 to 38 bytes a face, and a
third more as base64. Large meshes are displayed simplified, and labels on disk are unaffected. See docs/adr/0018.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from slime3d.io.mesh import Mesh
from slime3d.labelling.random_walk import SOURCES, FaceLabels
from slime3d.rendering.cameras import up_axes
from slime3d.rendering.shading import face_colors, lighting_normals
from slimecore.array_types import Array
from slimecore.types import Parts

__all__ = ["VIEWER_FACES", "simplified", "viewer_page"]

VIEWER_FACES = 500_000  # at this limit the page has 21 to 25 MB
_PLACEHOLDER = "<!--DATA-->"


@dataclass(frozen=True, slots=True, eq=False)
class _DisplayedFaces:
    """Displayed faces of a mesh.

    Parameters
    ----------
    corners : (f, 3, 3) float64
        Positions of the corners.
    face : (f,) int64
        Index of each face in the mesh.
    """

    corners: Array
    face: Array


def viewer_page(
    mesh: Mesh,
    name: str,
    labels: FaceLabels,
    parts: Parts,
    colors: Array,
    *,
    up: str = "y",
    limit: int = VIEWER_FACES,
    corner_normals: Array | None = None,
) -> str:
    """Build the page as text.

    Parameters
    ----------
    mesh : Mesh
    name : str
        Title.
    labels : FaceLabels
    parts : Parts
    colors : (P, 3) uint8
        Display colours of the parts.
    up : str
        Up axis of the file.
    limit : int
        Largest number of displayed faces. Larger meshes are simplified.
    corner_normals : (F, 3, 3) float64, optional
        Result of :func:`slime3d.rendering.shading.lighting_normals`.

    Returns
    -------
    str
    """
    displayed = simplified(mesh, labels.rows, limit)
    used = mesh.used()
    centre = (used.min(0) + used.max(0)) / 2
    radius = float(np.linalg.norm(used - centre, axis=1).max())
    axes = up_axes(up)
    corners = (displayed.corners - centre) / radius @ axes.T
    origin = corners.reshape(-1, 3).min(0)
    size = (corners.reshape(-1, 3).max(0) - origin).clip(1e-9)
    normals = (lighting_normals(mesh) if corner_normals is None else corner_normals)[displayed.face] @ axes.T
    file_colors = face_colors(mesh)
    arrays = {
        "position": ((corners - origin) / size * 65535).round().astype("<u2"),
        "normal": (normals * 127).round().clip(-127, 127).astype("<i1"),
        "row": labels.rows[displayed.face].astype("<u2"),
        "confidence": (labels.confidence[displayed.face] * 255).round().astype("<u1"),
        "source": labels.source[displayed.face].astype("<u1"),
        **({} if file_colors is None else {"own": file_colors[displayed.face].astype("<u1")}),
        **({} if len(displayed.face) == len(mesh.faces) else {"face": displayed.face.astype("<u4")}),
    }
    header = _page_header(mesh, name, labels, parts, colors)
    header.update(shown=len(displayed.face), low=origin.tolist(), size=size.tolist())
    blocks = [_script_element("head", "application/json", json.dumps(header, allow_nan=False).replace("<", "\\u003c"))]
    blocks += [
        _script_element(k, "text/plain", base64.b64encode(a.tobytes()).decode("ascii")) for k, a in arrays.items()
    ]
    page_start, page_end = _template().split(_PLACEHOLDER)
    return "".join([page_start, "\n".join(blocks), page_end])


def _page_header(mesh: Mesh, name: str, labels: FaceLabels, parts: Parts, colors: Array) -> dict[str, Any]:
    """Return the page's metadata: mesh, parts with face counts and areas, and sources of labels."""
    areas = mesh.areas()
    count = np.bincount(labels.rows, minlength=len(parts))
    area = np.bincount(labels.rows, areas, minlength=len(parts)) / areas.sum()
    mean_confidence = np.bincount(labels.rows, labels.confidence, minlength=len(parts)) / count.clip(1)
    part_entries = [
        {
            "value": int(value),
            "name": part,
            "shown": colors[row].tolist(),
            "faces": int(count[row]),
            "area": round(float(area[row]), 5),
            "confidence": round(float(mean_confidence[row]), 4),
        }
        for row, (value, part) in enumerate(zip(parts.values, parts.names, strict=True))
    ]
    mean = float((labels.confidence * areas).sum() / areas.sum())
    return {
        "mesh": name,
        "faces": len(mesh.faces),
        "confidence": round(mean, 4),
        "parts": part_entries,
        "sources": list(SOURCES),
    }


def _script_element(name: str, kind: str, text: str) -> str:
    return f'<script type="{kind}" id="{name}">{text}</script>'


@cache
def _template() -> str:
    return resources.files("slime3d").joinpath("assets/viewer.html").read_text(encoding="utf-8")


def simplified(mesh: Mesh, rows: Array, limit: int) -> _DisplayedFaces:
    """Simplify a mesh to at most `limit` faces by vertex clustering (Rossignac and Borrel, 1993).

    Vertices move to the mean of their grid cell. Collapsed faces and duplicates of a label are left out. Meshes within
    the limit stay as they are.

    Parameters
    ----------
    mesh : Mesh
    rows : (F,) int64
        Part row of every face.
    limit : int

    Returns
    -------
    _DisplayedFaces
    """
    count = len(mesh.faces)
    if count <= limit:
        return _DisplayedFaces(mesh.vertices[mesh.faces], np.arange(count))
    used, local = np.unique(mesh.faces, return_inverse=True)
    local = local.reshape(-1, 3)
    points = mesh.vertices[used]
    origin = points.min(0)
    extent = float(np.ptp(points, axis=0).max())
    cells = max(1.0, (limit / 2) ** 0.5)
    while True:
        cell = np.floor((points - origin) / extent * cells).astype(np.int64)
        node = np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1)
        corners = node[local]
        ordered = np.sort(corners, 1)
        uncollapsed = np.flatnonzero((ordered[:, 0] != ordered[:, 1]) & (ordered[:, 1] != ordered[:, 2]))
        key = np.concatenate([ordered[uncollapsed], rows[uncollapsed, None]], 1)
        kept = uncollapsed[np.sort(np.unique(key, axis=0, return_index=True)[1])]
        if len(kept) <= limit:
            break
        cells *= min(0.9, (limit / len(kept)) ** 0.5)
    member_count = np.bincount(node)
    mean = np.stack([np.bincount(node, points[:, i]) / member_count for i in range(3)], 1)
    return _DisplayedFaces(mean[corners[kept]], kept)
