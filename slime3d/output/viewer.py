"""``viewer.html``: one page that shows a labelled mesh by itself, without network, libraries or other files.

The page is ``assets/viewer.html`` (WebGL 2, plain JavaScript) with the mesh in it: 31 bytes a face, 38 at most, a third
more as base64. Above a number of faces the page shows a simplified mesh; labels on disk are never touched.
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

VIEWER_FACES = 500_000  # a page of 21 to 25 MB
_PLACE = "<!--DATA-->"


@dataclass(frozen=True, slots=True, eq=False)
class _Shown:
    """Corners (f, 3, 3) of the faces shown, and which faces (f,) of the mesh they are."""

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
    """The page as text.

    Parameters
    ----------
    mesh : Mesh
    name : str
        Title.
    labels : FaceLabels
    parts : Parts
    colors : (P, 3) uint8
        Colours that parts are shown in.
    up : str
        Axis of the file that points up.
    limit : int
        Most faces shown; a larger mesh is shown simplified.
    corner_normals : (F, 3, 3) float64, optional
        What :func:`slime3d.rendering.shading.lighting_normals` gave.
    """
    shown = simplified(mesh, labels.rows, limit)
    used = mesh.used()
    middle = (used.min(0) + used.max(0)) / 2
    radius = float(np.linalg.norm(used - middle, axis=1).max())
    axes = up_axes(up)
    corners = (shown.corners - middle) / radius @ axes.T
    low = corners.reshape(-1, 3).min(0)
    size = (corners.reshape(-1, 3).max(0) - low).clip(1e-9)
    normals = (lighting_normals(mesh) if corner_normals is None else corner_normals)[shown.face] @ axes.T
    own = face_colors(mesh)
    arrays = {
        "position": ((corners - low) / size * 65535).round().astype("<u2"),
        "normal": (normals * 127).round().clip(-127, 127).astype("<i1"),
        "row": labels.rows[shown.face].astype("<u2"),
        "confidence": (labels.confidence[shown.face] * 255).round().astype("<u1"),
        "source": labels.source[shown.face].astype("<u1"),
        **({} if own is None else {"own": own[shown.face].astype("<u1")}),
        **({} if len(shown.face) == len(mesh.faces) else {"face": shown.face.astype("<u4")}),
    }
    head = _head(mesh, name, labels, parts, colors)
    head.update(shown=len(shown.face), low=low.tolist(), size=size.tolist())
    blocks = [_block("head", "application/json", json.dumps(head, allow_nan=False).replace("<", "\\u003c"))]
    blocks += [_block(k, "text/plain", base64.b64encode(a.tobytes()).decode("ascii")) for k, a in arrays.items()]
    before, after = _template().split(_PLACE)
    return "".join([before, "\n".join(blocks), after])


def _head(mesh: Mesh, name: str, labels: FaceLabels, parts: Parts, colors: Array) -> dict[str, Any]:
    areas = mesh.areas()
    count = np.bincount(labels.rows, minlength=len(parts))
    area = np.bincount(labels.rows, areas, minlength=len(parts)) / areas.sum()
    sure = np.bincount(labels.rows, labels.confidence, minlength=len(parts)) / count.clip(1)
    listed = [
        {
            "value": int(value),
            "name": part,
            "shown": colors[row].tolist(),
            "faces": int(count[row]),
            "area": round(float(area[row]), 5),
            "confidence": round(float(sure[row]), 4),
        }
        for row, (value, part) in enumerate(zip(parts.values, parts.names, strict=True))
    ]
    mean = float((labels.confidence * areas).sum() / areas.sum())
    return {
        "mesh": name,
        "faces": len(mesh.faces),
        "confidence": round(mean, 4),
        "parts": listed,
        "sources": list(SOURCES),
    }


def _block(name: str, kind: str, text: str) -> str:
    return f'<script type="{kind}" id="{name}">{text}</script>'


@cache
def _template() -> str:
    return resources.files("slime3d").joinpath("assets/viewer.html").read_text(encoding="utf-8")


def simplified(mesh: Mesh, rows: Array, limit: int) -> _Shown:
    """At most `limit` faces that look like the mesh: vertices are moved to the mean of their cell of a grid.

    Faces that collapse are left out, as are second faces of a label between the same cells. With few enough faces
    everything is shown as it is.
    """
    count = len(mesh.faces)
    if count <= limit:
        return _Shown(mesh.vertices[mesh.faces], np.arange(count))
    used, local = np.unique(mesh.faces, return_inverse=True)
    local = local.reshape(-1, 3)
    points = mesh.vertices[used]
    low = points.min(0)
    side = float(np.ptp(points, axis=0).max())
    cells = max(1.0, (limit / 2) ** 0.5)
    while True:
        cell = np.floor((points - low) / side * cells).astype(np.int64)
        place = np.unique(cell, axis=0, return_inverse=True)[1].reshape(-1)
        corners = place[local]
        ordered = np.sort(corners, 1)
        whole = np.flatnonzero((ordered[:, 0] != ordered[:, 1]) & (ordered[:, 1] != ordered[:, 2]))
        key = np.concatenate([ordered[whole], rows[whole, None]], 1)
        kept = whole[np.sort(np.unique(key, axis=0, return_index=True)[1])]
        if len(kept) <= limit:
            break
        cells *= min(0.9, (limit / len(kept)) ** 0.5)
    number = np.bincount(place)
    mean = np.stack([np.bincount(place, points[:, i]) / number for i in range(3)], 1)
    return _Shown(mean[corners[kept]], kept)
