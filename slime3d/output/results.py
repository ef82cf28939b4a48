"""Result folder of a labelled mesh."""

from __future__ import annotations

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
from slimecore.io.result_folder import refuse_links
from slimecore.types import Parts
from slimecore.user_files import read_json

__all__ = ["LabelledMesh", "Outputs", "safe_name", "write_results"]

REPORT = "report.json"
_SHEET_VIEWS = 12
_SHEET_SIZE_PIXELS = 320


@dataclass(frozen=True, slots=True, eq=False)
class LabelledMesh:
    """Mesh with a part label for every face.

    Parameters
    ----------
    mesh : Mesh
    name : str
        Name of the mesh file.
    labels : FaceLabels
    parts : Parts
    seen : (F,) bool
        Faces visible in an annotated view.
    """

    mesh: Mesh
    name: str
    labels: FaceLabels
    parts: Parts
    seen: Array


@dataclass(frozen=True, slots=True)
class Outputs:
    """Optional outputs.

    Parameters
    ----------
    up : str
        Up axis of the file.
    turntable_frames : int
        Frames of the turntable, 0 for none.
    viewer_faces : int
        Largest number of faces of the viewer page, 0 for no page.
    keep_texture : bool
        Files look as the mesh does, not coloured by part.
    part_files : str
        File type of a file per part, ``none`` for none.
    """

    up: str = RunConfig().up
    turntable_frames: int = RunConfig().turntable_frames
    viewer_faces: int = RunConfig().viewer_faces
    keep_texture: bool = RunConfig().keep_texture
    part_files: str = RunConfig().part_files

    @classmethod
    def of(cls, config: Any) -> Outputs:
        """Take the fields from a command's settings, and defaults for missing settings."""
        return cls(**{f.name: getattr(config, f.name) for f in fields(cls) if hasattr(config, f.name)})


def write_results(out: Path, labelled: LabelledMesh, config: Any, renderer: Renderer) -> tuple[str, ...]:
    """Write all result files except the report.

    The previous ``report.json`` is removed first. Files it lists that are not written again are removed afterwards,
    e.g. of a part that no longer exists.

    Parameters
    ----------
    out : Path
        Result folder.
    labelled : LabelledMesh
    config : dataclass
        Settings of the command, written as ``config.yaml``. Their fields of :class:`Outputs` select optional files.
    renderer : Renderer

    Returns
    -------
    tuple of str
        Names of the files, relative to `out`.

    Raises
    ------
    OutputError
        A file or folder cannot be written.
    """
    refuse_links(out, [out / "parts"])
    make_folder(out)
    earlier_files = _listed_files(out)
    remove(out, [REPORT] if earlier_files else [])
    mesh, labels, parts, outputs = labelled.mesh, labelled.labels, labelled.parts, Outputs.of(config)
    files = ["config.yaml", "face_labels.npy", "labels.json", "segmented.glb", "labels.png"]
    write_text(out / "config.yaml", dump_yaml(config))
    write_face_labels(out / "face_labels.npy", labels, parts)
    write_labels_json(out / "labels.json", mesh, labelled.name, labels, parts, labelled.seen)
    pieces = pieces_of(labels, parts)
    write_bytes(out / "segmented.glb", glb_bytes(mesh, pieces, keep_texture=outputs.keep_texture))
    if outputs.part_files != "none":
        files += write_part_files(out / "parts", mesh, pieces, outputs.part_files, keep_texture=outputs.keep_texture)
    normals, palette = lighting_normals(mesh), picture_colors(parts)
    sheet_cameras = orbit_cameras(mesh.used(), _SHEET_VIEWS, _SHEET_SIZE_PIXELS, outputs.up)
    fragments = renderer.rasterize(mesh.vertices, mesh.faces, sheet_cameras)
    pictures = shade_colors(fragments, mesh, sheet_cameras, palette[labels.rows], normals)
    write_contact_sheet(out / "labels.png", pictures, parts)
    if outputs.viewer_faces:
        files.append("viewer.html")
        page = viewer_page(
            mesh,
            labelled.name,
            labels,
            parts,
            palette,
            up=outputs.up,
            limit=outputs.viewer_faces,
            corner_normals=normals,
        )
        write_text(out / "viewer.html", page)
    if outputs.turntable_frames:
        files.append("turntable.mp4")
        write_turntable(
            out / "turntable.mp4",
            mesh,
            renderer,
            palette[labels.rows],
            outputs.up,
            outputs.turntable_frames,
            normals=normals,
        )
    remove(out, sorted(earlier_files - set(files)))
    return tuple(files)


def pieces_of(labels: FaceLabels, parts: Parts) -> list[Piece]:
    """Return the parts with their faces, in the order of part values."""
    rows = zip(parts.names, parts.values, parts.colors, strict=True)
    return [
        Piece(name, int(value), (color[0], color[1], color[2]), np.flatnonzero(labels.rows == row))
        for row, (name, value, color) in enumerate(rows)
    ]


def write_part_files(
    folder: Path, mesh: Mesh, pieces: Sequence[Piece], kind: str, *, keep_texture: bool = False
) -> list[str]:
    """Write a file ``VALUE_NAME.KIND`` for each part with faces.

    Parameters
    ----------
    folder : Path
        The folder ``parts`` of the results.
    mesh : Mesh
    pieces : sequence of Piece
    kind : str
        ``glb``, ``obj``, ``ply`` or ``stl``.
    keep_texture : bool
        GLB files keep the colours and textures of the mesh.

    Returns
    -------
    list of str
        Names of the files, relative to the parent of `folder`.
    """
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
    """Convert a part's name to a valid piece of a file name on all systems."""
    return re.sub(r"[^\w-]+", "_", name).strip("_")[:60] or "part"


def _listed_files(out: Path) -> set[str]:
    """Return the files listed in the folder's report, empty without a valid report."""
    try:
        files = read_json(out / REPORT)["files"]
        return {str(f) for f in files if re.fullmatch(r"(parts/)?[\w-]+\.\w+", str(f))}
    except (OSError, ValueError, KeyError, TypeError):
        return set()


def remove(out: Path, files: Sequence[str]) -> None:
    """Delete outdated files of a result folder.

    Raises
    ------
    OutputError
        A file cannot be deleted.
    """
    for file in files:
        try:
            (out / file).unlink(missing_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot replace {out / file}: {error.strerror or error}; choose another --out"
            ) from error
