"""``slime3d render`` and ``slime3d run``, as functions."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.config import RunConfig
from slime3d.io.mesh import Mesh, load_mesh
from slime3d.labelling.alpha_expansion import alpha_expansion
from slime3d.labelling.annotated_views import Reference, read_references
from slime3d.labelling.appearance import AnnotatedViews, appearance_votes
from slime3d.labelling.random_walk import PERSUADED, SOURCES, FaceLabels, random_walk_labels
from slime3d.labelling.symmetry import symmetry_evidence
from slime3d.labelling.votes import FaceVotes, cast_votes
from slime3d.output.files import write_contact_sheet
from slime3d.output.results import LabelledMesh, write_results
from slime3d.rendering.cameras import Cameras, cameras_entry, orbit_cameras, read_cameras
from slime3d.rendering.renderers import Renderer, build_renderer
from slime3d.rendering.shading import lighting_normals, shade
from slime3d.run.provenance import provenance
from slimecore.array_types import Array
from slimecore.config import to_dict
from slimecore.errors import InputError
from slimecore.io.atomic_files import make_folder, write_bytes, write_json
from slimecore.io.images import write_png
from slimecore.provenance.report import parts_entry, peak_memory_mb, versions
from slimecore.types import Parts

__all__ = ["Result", "label_mesh", "render_mesh", "render_settings", "run"]

_TURNED = 1e-3  # more than rounding


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
    path: Path, out: Path, config: RunConfig, *, shading: str = "auto", cameras: Path | None = None
) -> tuple[str, ...]:
    """Write views of a mesh: pictures, face ids, a contact sheet and ``cameras.json``; return notes.

    Parameters
    ----------
    path, out : Path
    config : RunConfig
        Views, size, up and renderer.
    shading : str
        One of :data:`slime3d.rendering.shading.SHADINGS`.
    cameras : Path, optional
        A ``cameras.json`` to look through instead of views all around.

    Raises
    ------
    SlimeError
        A mesh, setting or place that does not do; nothing is written then.
    """
    import io

    made = provenance(path, render_settings(config, shading), cameras=cameras)
    mesh = load_mesh(path)
    looks = _cameras(mesh, config, cameras)
    tool = build_renderer(config.renderer)
    normals = lighting_normals(mesh)
    sheet, files = [], []
    for index in range(len(looks)):  # one by one: a hundred big views would not fit in memory
        camera = looks[index : index + 1]
        fragments = tool.rasterize(mesh.vertices, mesh.faces, camera)
        picture = shade(fragments, mesh, camera, shading, normals)[0]
        if index == 0:
            make_folder(out)
        buffer = io.BytesIO()
        np.save(buffer, fragments.face_id[0], allow_pickle=False)
        files += [f"view_{index:03d}.faces.npy", f"view_{index:03d}.png"]
        write_bytes(out / files[-2], buffer.getvalue())
        write_png(out / files[-1], picture)
        sheet.append(picture)
    write_contact_sheet(out / "contact_sheet.png", np.stack(sheet))
    more = {"mesh": path.name, "n_faces": len(mesh.faces), "up": config.up, "made_of": made}
    write_json(out / "cameras.json", cameras_entry(looks, **more, files=[*files, "contact_sheet.png"]))
    return mesh.notes


def render_settings(config: RunConfig, shading: str) -> dict[str, Any]:
    """Settings that pictures depend on."""
    return {key: getattr(config, key) for key in ("views", "size", "up", "renderer")} | {"shading": shading}


def _cameras(mesh: Mesh, config: RunConfig, file: Path | None) -> Cameras:
    if file is None:
        return orbit_cameras(mesh.used(), config.views, config.size, config.up)
    cameras = read_cameras(file)
    shown = [np.isfinite(cameras[i : i + 1].project(mesh.used())[0]).any() for i in range(len(cameras))]
    if not any(shown):
        raise InputError(f"{file}: the mesh lies behind every camera; a pose takes world to camera, looking along -z")
    return cameras


def label_mesh(
    mesh: Mesh,
    face_id: Array,
    rows: Array,
    parts: Parts,
    config: RunConfig,
    cameras: Cameras | None = None,
    renderer: Renderer | None = None,
) -> FaceLabels:
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
    cameras : Cameras, optional
        Those of the annotated views; without them, what the views look like (``config.appearance``) is not asked.
    renderer : Renderer, optional
        For other views; the configuration's by default.
    """
    votes = cast_votes(face_id, rows, len(mesh.faces))
    votes = np.pad(votes, ((0, 0), (0, len(parts) - votes.shape[1])))
    evidence = [FaceVotes(votes, is_fixed=True)]
    if config.method == "geometry":
        evidence.append(symmetry_evidence(mesh, votes, config.symmetry))
    labels = random_walk_labels(mesh, evidence, config.walk)
    if config.method == "geometry" and config.appearance.weight and cameras is not None:
        given = AnnotatedViews(face_id, rows, cameras, renderer or build_renderer(config.renderer), config.up)
        looks = appearance_votes(mesh, votes, given, (1 - labels.confidence) ** 2, config.appearance)
        labels = (
            _persuaded(labels, random_walk_labels(mesh, [*evidence, looks], config.walk))
            if looks.votes.any()
            else labels
        )
    return (
        alpha_expansion(mesh, labels, len(parts), config.walk, config.expansion)
        if config.smooth == "expansion"
        else labels
    )


def _persuaded(before: FaceLabels, after: FaceLabels) -> FaceLabels:
    """The labels `after` appearance was asked, saying which it changed."""
    changed = after.rows != before.rows
    return FaceLabels(after.rows, after.confidence, np.where(changed, PERSUADED, after.source).astype(np.uint8))


def run(
    path: Path,
    references: Sequence[Reference],
    out: Path,
    config: RunConfig,
    names: Mapping[int, str] | None = None,
    cameras: Path | None = None,
) -> Result:
    """Label a mesh from masks of some of its views and write everything into `out`.

    Parameters
    ----------
    path : Path
    references : sequence of Reference
    out : Path
    config : RunConfig
    names : mapping of int to str, optional
        Names of part values.
    cameras : Path, optional
        A ``cameras.json``; references count in its views instead of those of
        :func:`slime3d.rendering.cameras.frame_views`.

    Raises
    ------
    SlimeError
        A mesh, mask, setting or place that does not do; nothing is written then.
    """
    clock = StageTimer()
    made = provenance(path, config, references, names, cameras)
    mesh = load_mesh(path)
    clock.lap("load")
    looks = _cameras(mesh, config, cameras)
    _require_views(references, len(looks))
    _require_same_views(references, looks)
    renderer = build_renderer(config.renderer)
    shown = looks.at([r.view for r in references])
    each = [shown[i : i + 1] for i in range(len(shown))]
    face_id = np.concatenate([renderer.rasterize(mesh.vertices, mesh.faces, camera).face_id for camera in each])
    clock.lap("render")
    given = read_references(references, face_id, names, config.unlabelled_faces)
    labels = label_mesh(mesh, face_id, given.rows, given.parts, config, shown, renderer)
    clock.lap("label")
    seen = np.zeros(len(mesh.faces), bool)
    seen[face_id[face_id >= 0]] = True
    found = LabelledMesh(mesh, path.name, labels, given.parts, seen)
    files = write_results(out, found, config, renderer)
    used = [r.view for r in references]
    write_json(out / "cameras.json", cameras_entry(looks, mesh=path.name, up=config.up, annotated=used))
    clock.lap("write")
    notes = (*mesh.notes, *given.notes)
    report = _report(found, references, config, clock.seconds, notes)
    report.update(made_of=made, files=[*files, "cameras.json"])
    report["mesh"]["path"] = os.path.relpath(path, out)  # for slime3d transfer
    write_json(out / "report.json", report)
    return Result(labels, given.parts, seen, notes, report)


class StageTimer:
    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._last = time.perf_counter()

    def lap(self, name: str) -> None:
        now = time.perf_counter()
        self.seconds[name] = round(now - self._last, 3)
        self._last = now


def _require_same_views(references: Sequence[Reference], looks: Cameras) -> None:
    """Refuse a mask beside views that were rendered otherwise: it would mark other faces, without a sign of it."""
    for reference in references:
        file = reference.path.parent / "cameras.json"
        try:
            before = read_cameras(file).pose[:, :3, :3]  # a mesh that was edited is seen from the same sides
        except InputError:  # there is none, or it says nothing
            continue
        number = reference.view
        if number >= len(before) or np.abs(before[number] - looks.pose[number, :3, :3]).max() > _TURNED:
            raise InputError(
                f"{reference.path}: {file.name} beside it says that view {number} was rendered from another side; give "
                f"the same --views and --up as then, or --cameras {file}"
            )


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
    found: LabelledMesh,
    references: Sequence[Reference],
    config: RunConfig,
    seconds: Mapping[str, float],
    notes: Sequence[str],
) -> dict[str, Any]:
    mesh, labels = found.mesh, found.labels
    areas = mesh.areas()
    share = np.bincount(labels.source, areas, minlength=len(SOURCES)) / areas.sum()
    return {
        "versions": versions("trimesh", "scipy", "numba", "PyMaxflow"),
        "mesh": {
            "file": found.name,
            "faces": len(mesh.faces),
            "vertices": len(mesh.vertices),
            "nodes": len(mesh.node_names),
            "without_area": int((areas == 0).sum()),
        },
        "references": [{"view": r.view, "file": r.path.name} for r in references],
        "parts": parts_entry(found.parts),
        "settings": to_dict(config),
        "faces": {name: int((labels.source == i).sum()) for i, name in enumerate(SOURCES)},
        "area_share": {name: round(float(share[i]), 4) for i, name in enumerate(SOURCES)},
        "seen": int(found.seen.sum()),
        "confidence": round(float((labels.confidence * areas).sum() / areas.sum()), 4),
        "seconds": dict(seconds),
        "peak_memory_mb": peak_memory_mb(),
        "notes": list(notes),
    }
