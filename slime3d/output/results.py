"""Everything a labelled mesh is written as, into one folder."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.config import RunConfig
from slime3d.io.mesh import Mesh
from slime3d.labelling.random_walk import FaceLabels
from slime3d.output.files import (
    picture_colors,
    write_contact_sheet,
    write_face_labels,
    write_labels_json,
    write_turntable,
)
from slime3d.output.glb import Piece, glb_bytes
from slime3d.output.viewer import viewer_page
from slime3d.rendering.cameras import orbit_cameras
from slime3d.rendering.renderers import Renderer
from slime3d.rendering.shading import lighting_normals, shade_colors
from slimecore.array_types import Array
from slimecore.config import dump_yaml
from slimecore.errors import OutputError
from slimecore.io.atomic_files import make_folder, write_bytes, write_text
from slimecore.types import Parts

__all__ = ["LabelledMesh", "Outputs", "safe_name", "write_results"]

REPORT = "report.json"
_SHEET_VIEWS = 12
_SHEET_SIZE = 320


@dataclass(frozen=True, slots=True, eq=False)
class LabelledMesh:
    """A mesh with a part for every face.

    Parameters
    ----------
    mesh : Mesh
    name : str
        Name of its file.
    labels : FaceLabels
    parts : Parts
    seen : (F,) bool
        Faces that some annotated view shows.
    """

    mesh: Mesh
    name: str
    labels: FaceLabels
    parts: Parts
    seen: Array


@dataclass(frozen=True, slots=True)
class Outputs:
    """What is written beside the labels; see :class:`slime3d.config.RunConfig` for the fields."""

    up: str = RunConfig().up
    frames: int = RunConfig().turntable_frames
    viewer: int = RunConfig().viewer_faces
    keep_texture: bool = RunConfig().keep_texture
    part_files: str = RunConfig().part_files

    @classmethod
    def of(cls, config: Any) -> Outputs:
        """Those of a command's settings; defaults for what it has no setting for."""
        return cls(**{f.name: getattr(config, f.name) for f in fields(cls) if hasattr(config, f.name)})


def write_results(out: Path, found: LabelledMesh, config: Any, renderer: Renderer) -> tuple[str, ...]:
    """Write all of a command's files but its report; return their names.

    Files that the folder's last ``report.json`` lists and that are not made now (a part that is gone, a turntable that
    was switched off) are removed, and that report with them, until the new one is written.

    Parameters
    ----------
    out : Path
    found : Labelled
    config : dataclass
        The command's settings: written as ``config.yaml``, and asked for what :class:`Outputs` has fields for.
    renderer : Renderer

    Raises
    ------
    OutputError
        A place that cannot be written.
    """
    make_folder(out)
    before = _listed(out)
    remove(out, [REPORT] if before else [])
    mesh, labels, parts, wanted = found.mesh, found.labels, found.parts, Outputs.of(config)
    files = ["config.yaml", "face_labels.npy", "labels.json", "segmented.glb", "labels.png"]
    write_text(out / "config.yaml", dump_yaml(config))
    write_face_labels(out / "face_labels.npy", labels, parts)
    write_labels_json(out / "labels.json", mesh, found.name, labels, parts, found.seen)
    pieces = pieces_of(labels, parts)
    write_bytes(out / "segmented.glb", glb_bytes(mesh, pieces, keep_texture=wanted.keep_texture))
    if wanted.part_files != "none":
        files += write_part_files(out / "parts", mesh, pieces, wanted.part_files, keep_texture=wanted.keep_texture)
    normals, palette = lighting_normals(mesh), picture_colors(parts)
    small = orbit_cameras(mesh.used(), _SHEET_VIEWS, _SHEET_SIZE, wanted.up)
    fragments = renderer.rasterize(mesh.vertices, mesh.faces, small)
    pictures = shade_colors(fragments, mesh, small, palette[labels.rows], normals)
    write_contact_sheet(out / "labels.png", pictures, parts)
    if wanted.viewer:
        files.append("viewer.html")
        page = viewer_page(
            mesh, found.name, labels, parts, palette, up=wanted.up, limit=wanted.viewer, corner_normals=normals
        )
        write_text(out / "viewer.html", page)
    if wanted.frames:
        files.append("turntable.mp4")
        write_turntable(
            out / "turntable.mp4", mesh, renderer, palette[labels.rows], wanted.up, wanted.frames, normals=normals
        )
    remove(out, sorted(before - set(files)))
    return tuple(files)


def pieces_of(labels: FaceLabels, parts: Parts) -> list[Piece]:
    """Parts with their faces, in the order of part values."""
    rows = zip(parts.names, parts.values, parts.colors, strict=True)
    return [
        Piece(name, int(value), (color[0], color[1], color[2]), np.flatnonzero(labels.rows == row))
        for row, (name, value, color) in enumerate(rows)
    ]


def write_part_files(
    folder: Path, mesh: Mesh, pieces: Sequence[Piece], kind: str, *, keep_texture: bool = False
) -> list[str]:
    """A file per part that has faces, ``parts/VALUE_NAME.KIND``; return their names from the folder above."""
    import trimesh

    make_folder(folder)
    files = []
    for piece in pieces:
        if not len(piece.faces):
            continue
        name = f"{piece.value}_{safe_name(piece.name)}.{kind}"
        if kind == "glb":
            data = glb_bytes(mesh, [piece], keep_texture=keep_texture)
        else:
            used, local = np.unique(mesh.faces[piece.faces], return_inverse=True)
            shape = trimesh.Trimesh(mesh.vertices[used], local.reshape(-1, 3), process=False, validate=False)
            shape.visual.face_colors = [*piece.color, 255]
            exported = shape.export(file_type=kind)
            data = exported.encode() if isinstance(exported, str) else bytes(exported)
        write_bytes(folder / name, data)
        files.append(f"{folder.name}/{name}")
    return files


def safe_name(name: str) -> str:
    """A part's name as a piece of a file name on any system."""
    return re.sub(r"[^\w-]+", "_", name).strip("_")[:60] or "part"


def _listed(out: Path) -> set[str]:
    """Files that an earlier run says it wrote into the folder."""
    try:
        files = json.loads((out / REPORT).read_text(encoding="utf-8"))["files"]
        return {str(f) for f in files if re.fullmatch(r"(parts/)?[\w-]+\.\w+", str(f))}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def remove(out: Path, files: Sequence[str]) -> None:
    """Delete files of a result folder that no longer hold.

    Raises
    ------
    OutputError
        One cannot be deleted.
    """
    for file in files:
        try:
            (out / file).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot replace {out / file}: {error.strerror or error}; choose another --out"
            ) from error
