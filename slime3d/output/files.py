"""Writers of result files: labels, contact sheets, turntable."""

from __future__ import annotations

import io
import json
import math
from fractions import Fraction
from pathlib import Path

import numpy as np

from slime3d.io.mesh import Mesh
from slime3d.labelling.random_walk import SOURCES, FaceLabels
from slime3d.rendering.cameras import turntable_views
from slime3d.rendering.renderers import Renderer
from slime3d.rendering.shading import lighting_normals, shade_colors
from slimecore.array_types import Array
from slimecore.io.atomic_files import write_bytes, write_text
from slimecore.io.images import write_png
from slimecore.types import Parts

__all__ = [
    "picture_colors",
    "write_contact_sheet",
    "write_face_labels",
    "write_labels_json",
    "write_turntable",
]

_SHEET_COLUMNS = 4
_LEGEND_ROW_PIXELS = 22
_TURNTABLE_FPS = Fraction(16)


def write_face_labels(path: Path, labels: FaceLabels, parts: Parts) -> None:
    """Write ``face_labels.npy``: part values (F,) int32 in the file's face order.

    Parameters
    ----------
    path : Path
    labels : FaceLabels
    parts : Parts
    """
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(parts.values, np.int32)[labels.rows], allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def write_labels_json(path: Path, mesh: Mesh, name: str, labels: FaceLabels, parts: Parts, seen: Array) -> None:
    """Write ``labels.json``: parts, and label, confidence, source and visibility of every face.

    Parameters
    ----------
    path : Path
    mesh : Mesh
        F faces. The faces of a scene node are consecutive, and ``nodes`` holds the first face of each.
    name : str
        File name of the mesh.
    labels : FaceLabels
    parts : Parts
    seen : (F,) bool
        Faces visible in an annotated view.
    """
    areas = mesh.areas()
    part_entries = []
    for row, (value, part, color) in enumerate(zip(parts.values, parts.names, parts.colors, strict=True)):
        in_part = labels.rows == row
        confidence = float(labels.confidence[in_part].mean()) if in_part.any() else 0.0
        counts = {"faces": int(in_part.sum()), "area": float(areas[in_part].sum()), "confidence": round(confidence, 4)}
        part_entries.append({"value": value, "name": part, "color": list(color), **counts})
    count = np.bincount(mesh.node, minlength=len(mesh.node_names))  # the faces of a node are consecutive
    spans = zip(mesh.node_names, (np.cumsum(count) - count).tolist(), count.tolist(), strict=True)
    nodes = [{"name": node, "first": first, "faces": faces} for node, first, faces in spans]
    header = {"schema": 1, "mesh": name, "n_faces": len(mesh.faces), "nodes": nodes, "parts": part_entries}
    header_text = json.dumps(header, indent=2)
    rows = {
        "labels": np.asarray(parts.values)[labels.rows].tolist(),
        "confidence": [round(float(c), 3) for c in labels.confidence],
        "source": labels.source.tolist(),
        "sources": list(SOURCES),
        "seen": seen.astype(int).tolist(),
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in rows.items()]
    write_text(path, header_text[:-2] + ",\n" + ",\n".join(lines) + "\n}\n")


def picture_colors(parts: Parts) -> Array:
    """Return the colours (P, 3) uint8 of parts in images, lightened so that shading is visible, with row 0 in grey."""
    colors = (np.asarray(parts.colors, np.int64) * 3 // 2 + 24).clip(0, 255)
    colors[0] = 200
    return colors.astype(np.uint8)


def write_contact_sheet(path: Path, pictures: Array, parts: Parts | None = None, cell: int = 320) -> None:
    """Write a page of numbered views.

    Parameters
    ----------
    path : Path
    pictures : (N, h, w, 3) uint8
    parts : Parts, optional
        Parts of a legend below the views.
    cell : int
        Side of a view on the page, pixels.
    """
    from PIL import Image, ImageDraw

    from slimecore.imaging.resize import resize_rgb

    count = len(pictures)
    columns = min(_SHEET_COLUMNS, count)
    rows = math.ceil(count / columns)
    width = columns * cell
    legend = [] if parts is None else _legend_entries(parts, width)
    page = Image.new(
        "RGB", (width, rows * cell + (legend[-1][1] + _LEGEND_ROW_PIXELS if legend else 0)), (255, 255, 255)
    )
    pen = ImageDraw.Draw(page)
    for i, picture in enumerate(pictures):
        corner = (i % columns * cell, i // columns * cell)
        h, w = picture.shape[:2]
        fitted = (max(1, round(cell * h / max(h, w))), max(1, round(cell * w / max(h, w))))
        page.paste(Image.fromarray(resize_rgb(picture, fitted)), corner)
        pen.text((corner[0] + 6, corner[1] + 4), str(i), fill=(110, 110, 110))
    for x, y, name, color in legend:
        top = rows * cell + y
        pen.rectangle((x + 6, top + 4, x + 18, top + 16), fill=color, outline=(60, 60, 60))
        pen.text((x + 24, top + 4), name, fill=(40, 40, 40))
    write_png(path, np.asarray(page))


def _legend_entries(parts: Parts, width: int) -> list[tuple[int, int, str, tuple[int, int, int]]]:
    """Return x, y, text and colour of every legend entry, wrapped at `width` pixels."""
    entries = []
    x = y = 0
    for value, name, color in zip(parts.values, parts.names, picture_colors(parts).tolist(), strict=True):
        text = f"{value} {name}".encode("latin-1", "replace").decode("latin-1")[:60]
        width_needed = 40 + 7 * len(text)
        if x and x + width_needed > width:
            x, y = 0, y + _LEGEND_ROW_PIXELS
        entries.append((x, y, text, (color[0], color[1], color[2])))
        x += width_needed
    return entries


def write_turntable(
    path: Path,
    mesh: Mesh,
    renderer: Renderer,
    face_colors: Array,
    up: str,
    frames: int,
    size: int = 384,
    normals: Array | None = None,
) -> None:
    """Write a video of a full turn.

    Parameters
    ----------
    path : Path
    mesh : Mesh
    renderer : Renderer
    face_colors : (F, 3)
        RGB, 0..255.
    up : str
        Up axis of the file.
    frames : int
        Number of frames of the turn.
    size : int
        Side of the square frames, pixels.
    normals : (F, 3, 3) float64, optional
        Result of :func:`slime3d.rendering.shading.lighting_normals`.
    """
    from slimecore.io.video_writer import VideoWriter

    cameras = turntable_views(mesh.used(), frames, size, up)
    normals = lighting_normals(mesh) if normals is None else normals
    with VideoWriter(path, (size, size), _TURNTABLE_FPS) as video:
        for first in range(0, frames, 8):
            batch = cameras[first : first + 8]
            fragments = renderer.rasterize(mesh.vertices, mesh.faces, batch)
            for picture in shade_colors(fragments, mesh, batch, face_colors, normals):
                video.write(picture)
