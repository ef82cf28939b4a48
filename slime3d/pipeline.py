"""``slime3d render`` and ``slime3d run``, as functions."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slime3d.config import RunConfig
from slime3d.evidence import Evidence, cast_votes
from slime3d.export import (
    picture_colors,
    write_contact_sheet,
    write_face_labels,
    write_labels_json,
    write_segmented,
    write_turntable,
)
from slime3d.mesh import Mesh, load_mesh
from slime3d.references import Reference, References, read_references
from slime3d.renderers import Fragments, build_renderer
from slime3d.shade import lighting_normals, shade, shade_colors
from slime3d.symmetry import symmetry_evidence
from slime3d.views import Cameras, cameras_entry, frame_views
from slime3d.walk import SOURCES, FaceLabels, walk
from slimecore.config import dump_yaml, to_dict
from slimecore.errors import InputError
from slimecore.files import make_folder, write_bytes, write_json, write_text
from slimecore.images import write_png
from slimecore.report import parts_entry, peak_memory_mb, versions
from slimecore.types import Parts

__all__ = ["Result", "label_mesh", "render_mesh", "run"]

Array = npt.NDArray[Any]
_SHEET_VIEWS = 12
_SHEET_SIZE = 320


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """What a run found.

    Parameters
    ----------
    labels : FaceLabels
    parts : Parts
    seen : (F,) bool
        Faces some annotated view shows.
    notes : tuple of str
    report : mapping
        What ``report.json`` holds.
    """

    labels: FaceLabels
    parts: Parts
    seen: Array
    notes: tuple[str, ...]
    report: Mapping[str, Any]


def render_mesh(
    path: Path, out: Path, *, views: int, size: int, up: str, shading: str, renderer: str
) -> tuple[str, ...]:
    """Write views of a mesh: pictures, face ids, ``cameras.json`` and a contact sheet; return notes.

    Raises
    ------
    SlimeError
        A mesh, setting or place that does not do; nothing is written then.
    """
    import io

    mesh = load_mesh(path)
    cameras = frame_views(mesh.used(), views, size, up)
    tool = build_renderer(renderer)
    normals = lighting_normals(mesh)
    sheet = []
    for index in range(views):  # one by one: a hundred big views would not fit in memory
        camera = cameras[index : index + 1]
        fragments = tool.rasterize(mesh.vertices, mesh.faces, camera)
        picture = shade(fragments, mesh, camera, shading, normals)[0]
        if index == 0:
            make_folder(out)
        buffer = io.BytesIO()
        np.save(buffer, fragments.face_id[0], allow_pickle=False)
        write_bytes(out / f"view_{index:03d}.faces.npy", buffer.getvalue())
        write_png(out / f"view_{index:03d}.png", picture)
        sheet.append(picture)
    write_contact_sheet(out / "contact_sheet.png", np.stack(sheet))
    write_json(out / "cameras.json", cameras_entry(cameras, mesh=path.name, n_faces=len(mesh.faces), up=up))
    return mesh.notes


def label_mesh(mesh: Mesh, face_id: Array, rows: Array, parts: Parts, config: RunConfig) -> FaceLabels:
    """Label every face from annotated views.

    Parameters
    ----------
    mesh : Mesh
    face_id : (A, h, w) int32
        What the annotated views show.
    rows : (A, h, w) int
        Part row at every pixel, -1 = says nothing.
    parts : Parts
    config : RunConfig
    """
    votes = cast_votes(face_id, rows, len(mesh.faces))
    votes = np.pad(votes, ((0, 0), (0, len(parts) - votes.shape[1])))
    evidence = [Evidence(votes, certain=True)]
    if config.method == "geometry":
        evidence.append(symmetry_evidence(mesh, votes, config.symmetry))
    return walk(mesh, evidence, config.walk)


def run(
    path: Path, references: Sequence[Reference], out: Path, config: RunConfig, names: Mapping[int, str] | None = None
) -> Result:
    """Label a mesh from masks of some of its views and write everything into `out`.

    Raises
    ------
    SlimeError
        A mesh, mask, setting or place that does not do; nothing is written then.
    """
    clock = _Clock()
    mesh = load_mesh(path)
    _require_views(references, config.views)
    clock.lap("load")
    cameras = frame_views(mesh.used(), config.views, config.size, config.up)
    renderer = build_renderer(config.renderer)
    shown = [_one(cameras, r.view) for r in references]
    face_id = np.concatenate([renderer.rasterize(mesh.vertices, mesh.faces, camera).face_id for camera in shown])
    clock.lap("render")
    given = read_references(references, face_id, names, config.unmarked)
    labels = label_mesh(mesh, face_id, given.rows, given.parts, config)
    clock.lap("label")
    seen = np.zeros(len(mesh.faces), bool)
    seen[face_id[face_id >= 0]] = True
    make_folder(out)
    write_text(out / "config.yaml", dump_yaml(config))
    write_face_labels(out / "face_labels.npy", labels, given.parts)
    write_labels_json(out / "labels.json", mesh, path.name, labels, given.parts, seen)
    write_segmented(out / "segmented.glb", mesh, labels, given.parts)
    colors = picture_colors(given.parts)[labels.rows]
    small = frame_views(mesh.used(), _SHEET_VIEWS, _SHEET_SIZE, config.up)
    fragments: Fragments = renderer.rasterize(mesh.vertices, mesh.faces, small)
    write_contact_sheet(out / "labels.png", shade_colors(fragments, mesh, small, colors), given.parts)
    if config.frames:
        write_turntable(out / "turntable.mp4", mesh, renderer, colors, config.up, config.frames)
    clock.lap("write")
    notes = (*mesh.notes, *given.notes)
    report = _report(path, mesh, references, config, labels, given, seen, clock.seconds, notes)
    report["mesh"]["path"] = os.path.relpath(path, out)  # for slime3d transfer
    write_json(out / "report.json", report)
    return Result(labels, given.parts, seen, notes, report)


class _Clock:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now


def _one(cameras: Cameras, view: int) -> Cameras:
    return cameras[view : view + 1]


def _require_views(references: Sequence[Reference], views: int) -> None:
    if not references:
        raise InputError("no annotated view: give --ref MASK, drawn on a picture of slime3d render")
    for reference in references:
        if reference.view < 0:
            raise InputError(f"--view must be 0 or more, got {reference.view}")
        if reference.view >= views:
            raise InputError(
                f"{reference.path}: there is no view {reference.view}, views are 0 .. {views - 1}; see --views"
            )
    numbers = [r.view for r in references]
    twice = sorted({n for n in numbers if numbers.count(n) > 1})
    if twice:
        raise InputError(f"view {twice[0]} has two masks; give each its own view: --ref 0=a.png --ref 5=b.png")


def _report(
    path: Path,
    mesh: Mesh,
    references: Sequence[Reference],
    config: RunConfig,
    labels: FaceLabels,
    given: References,
    seen: Array,
    seconds: Mapping[str, float],
    notes: Sequence[str],
) -> dict[str, Any]:
    areas = mesh.areas()
    share = np.bincount(labels.source, areas, minlength=len(SOURCES)) / areas.sum()
    return {
        "versions": versions("trimesh", "scipy", "numba"),
        "mesh": {
            "file": path.name,
            "faces": len(mesh.faces),
            "vertices": len(mesh.vertices),
            "nodes": len(mesh.node_names),
            "without_area": int((areas == 0).sum()),
        },
        "references": [{"view": r.view, "file": r.path.name} for r in references],
        "parts": parts_entry(given.parts),
        "settings": to_dict(config),
        "faces": {name: int((labels.source == i).sum()) for i, name in enumerate(SOURCES)},
        "area_share": {name: round(float(share[i]), 4) for i, name in enumerate(SOURCES)},
        "seen": int(seen.sum()),
        "confidence": round(float((labels.confidence * areas).sum() / areas.sum()), 4),
        "seconds": dict(seconds),
        "peak_memory_mb": peak_memory_mb(),
        "notes": list(notes),
    }
