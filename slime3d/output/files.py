"""Results as files: labels, contact sheets, a turntable."""

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

_COLUMNS = 4
_LEGEND_ROW = 22
_FPS = Fraction(16)


def write_face_labels(path: Path, labels: FaceLabels, parts: Parts) -> None:
    """``face_labels.npy``: (F,) int32 part values in the file's face order."""
    buffer = io.BytesIO()
    np.save(buffer, np.asarray(parts.values, np.int32)[labels.rows], allow_pickle=False)
    write_bytes(path, buffer.getvalue())


def write_labels_json(path: Path, mesh: Mesh, name: str, labels: FaceLabels, parts: Parts, seen: Array) -> None:
    """``labels.json``: parts with names and colours; label, confidence, source and visibility of every face.

    Faces of a scene's nodes follow each other; ``nodes`` says where each begins.
    """
    areas = mesh.areas()
    listed = []
    for row, (value, part, color) in enumerate(zip(parts.values, parts.names, parts.colors, strict=True)):
        mine = labels.rows == row
        sure = float(labels.confidence[mine].mean()) if mine.any() else 0.0
        counts = {"faces": int(mine.sum()), "area": float(areas[mine].sum()), "confidence": round(sure, 4)}
        listed.append({"value": value, "name": part, "color": list(color), **counts})
    count = np.bincount(mesh.node, minlength=len(mesh.node_names))  # the faces of a node lie together
    spans = zip(mesh.node_names, (np.cumsum(count) - count).tolist(), count.tolist(), strict=True)
    nodes = [{"name": node, "first": first, "faces": faces} for node, first, faces in spans]
    about = {"schema": 1, "mesh": name, "n_faces": len(mesh.faces), "nodes": nodes, "parts": listed}
    head = json.dumps(about, indent=2)
    rows = {
        "labels": np.asarray(parts.values)[labels.rows].tolist(),
        "confidence": [round(float(c), 3) for c in labels.confidence],
        "source": labels.source.tolist(),
        "sources": list(SOURCES),
        "seen": seen.astype(int).tolist(),
    }
    lines = [f"  {json.dumps(key)}: {json.dumps(value, separators=(',', ':'))}" for key, value in rows.items()]
    write_text(path, head[:-2] + ",\n" + ",\n".join(lines) + "\n}\n")


def picture_colors(parts: Parts) -> Array:
    """(P, 3) uint8 colours of parts in pictures: lighter, as dark ones show no shape; the rest (row 0) is grey."""
    colors = (np.asarray(parts.colors, np.int64) * 3 // 2 + 24).clip(0, 255)
    colors[0] = 200
    return colors.astype(np.uint8)


def write_contact_sheet(path: Path, pictures: Array, parts: Parts | None = None, cell: int = 320) -> None:
    """All views (N, h, w, 3) on one page, numbered; with `parts`, a legend below, in the colours of pictures."""
    from PIL import Image, ImageDraw

    from slimecore.imaging.resize import resize_rgb

    count = len(pictures)
    columns = min(_COLUMNS, count)
    rows = math.ceil(count / columns)
    width = columns * cell
    legend = [] if parts is None else _legend(parts, width)
    page = Image.new("RGB", (width, rows * cell + (legend[-1][1] + _LEGEND_ROW if legend else 0)), (255, 255, 255))
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


def _legend(parts: Parts, width: int) -> list[tuple[int, int, str, tuple[int, int, int]]]:
    out = []
    x = y = 0
    for value, name, color in zip(parts.values, parts.names, picture_colors(parts).tolist(), strict=True):
        text = f"{value} {name}".encode("latin-1", "replace").decode("latin-1")[:60]
        need = 40 + 7 * len(text)
        if x and x + need > width:
            x, y = 0, y + _LEGEND_ROW
        out.append((x, y, text, (color[0], color[1], color[2])))
        x += need
    return out


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
    """One full turn as a video, faces in the colours (F, 3) given; `normals` are those of `lighting_normals`."""
    from slimecore.io.video_writer import VideoWriter

    cameras = turntable_views(mesh.used(), frames, size, up)
    normals = lighting_normals(mesh) if normals is None else normals
    with VideoWriter(path, (size, size), _FPS) as video:
        for first in range(0, frames, 8):
            few = cameras[first : first + 8]
            fragments = renderer.rasterize(mesh.vertices, mesh.faces, few)
            for picture in shade_colors(fragments, mesh, few, face_colors, normals):
                video.write(picture)
