"""Functions behind ``slime3d render`` and ``slime3d run``."""

from __future__ import annotations

import os
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
from slime3d.labelling.random_walk import RELABELLED_BY_APPEARANCE, SOURCES, FaceLabels, random_walk_labels
from slime3d.labelling.symmetry import symmetry_evidence
from slime3d.labelling.votes import annotation_votes
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
from slimecore.runtime.stage_timer import StageTimer
from slimecore.types import Parts

__all__ = ["Result", "label_mesh", "render_mesh", "render_settings", "run_mesh"]

_SAME_ROTATION_TOLERANCE = 1e-3  # largest difference of matrix entries, above rounding errors


@dataclass(frozen=True, slots=True, eq=False)
class Result:
    """Result of a run.

    Parameters
    ----------
    labels : FaceLabels
    parts : Parts
    seen : (F,) bool
        Faces visible in an annotated view.
    notes : tuple of str
        Warnings for the user, a sentence each.
    report : mapping
        Content of ``report.json``.
    """

    labels: FaceLabels
    parts: Parts
    seen: Array
    notes: tuple[str, ...]
    report: Mapping[str, Any]


def render_mesh(
    path: Path, out: Path, config: RunConfig, *, shading: str = "auto", cameras: Path | None = None
) -> tuple[str, ...]:
    """Write views of a mesh: images, face ids, a contact sheet and ``cameras.json``.

    Parameters
    ----------
    path, out : Path
        Mesh file and result folder.
    config : RunConfig
        Views, size, up and renderer.
    shading : str
        An entry of :data:`slime3d.rendering.shading.SHADINGS`.
    cameras : Path, optional
        A ``cameras.json``, used instead of the orbit cameras.

    Returns
    -------
    tuple of str
        Notes of the mesh.

    Raises
    ------
    SlimeError
        The mesh, a setting or the folder is invalid. Nothing is written in this case.
    """
    import io

    made_of = provenance(path, render_settings(config, shading), cameras=cameras)
    mesh = load_mesh(path)
    views = _orbit_or_read_cameras(mesh, config, cameras)
    rasterizer = build_renderer(config.renderer)
    normals = lighting_normals(mesh)
    sheet, files = [], []
    for index in range(len(views)):  # view by view, as a hundred large views exceed the memory
        camera = views[index : index + 1]
        fragments = rasterizer.rasterize(mesh.vertices, mesh.faces, camera)
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
    more = {"mesh": path.name, "n_faces": len(mesh.faces), "up": config.up, "made_of": made_of}
    write_json(out / "cameras.json", cameras_entry(views, **more, files=[*files, "contact_sheet.png"]))
    return mesh.notes


def render_settings(config: RunConfig, shading: str) -> dict[str, Any]:
    """Return the settings that determine the rendered images."""
    return {key: getattr(config, key) for key in ("views", "size", "up", "renderer")} | {"shading": shading}


def _orbit_or_read_cameras(mesh: Mesh, config: RunConfig, file: Path | None) -> Cameras:
    """Return the cameras of a ``cameras.json``, or orbit cameras without a file."""
    if file is None:
        return orbit_cameras(mesh.used(), config.views, config.size, config.up)
    cameras = read_cameras(file)
    visible = [np.isfinite(cameras[i : i + 1].project(mesh.used())[0]).any() for i in range(len(cameras))]
    if not any(visible):
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
    weight: Array | None = None,
) -> FaceLabels:
    """Label every face from annotated views.

    Parameters
    ----------
    mesh : Mesh
    face_id : (A, h, w) int32
        Faces shown by the annotated views, -1 = none.
    rows : (A, h, w) int
        Part row at every pixel, -1 = unlabelled.
    parts : Parts
    config : RunConfig
    cameras : Cameras, optional
        Cameras of the annotated views. Without them, appearance (``config.appearance``) is not used.
    renderer : Renderer, optional
        Renderer of further views. The default is `config.renderer`.
    weight : (A, h, w) float32, optional
        Certainty of every pixel, 0..1. The default is 1.

    Returns
    -------
    FaceLabels
    """
    evidence = annotation_votes(face_id, rows, weight, (len(mesh.faces), len(parts)))
    votes = evidence[0].votes
    if weight is not None:
        rows = np.where(weight >= 1, rows, -1)
    if config.method == "geometry":
        evidence.append(symmetry_evidence(mesh, votes, config.symmetry))
    labels = random_walk_labels(mesh, evidence, config.walk)
    if config.method == "geometry" and config.appearance.weight and cameras is not None:
        given = AnnotatedViews(face_id, rows, cameras, renderer or build_renderer(config.renderer), config.up)
        appearance = appearance_votes(mesh, votes, given, (1 - labels.confidence) ** 2, config.appearance)
        labels = (
            _relabelled_by_appearance(labels, random_walk_labels(mesh, [*evidence, appearance], config.walk))
            if appearance.votes.any()
            else labels
        )
    return (
        alpha_expansion(mesh, labels, len(parts), config.walk, config.expansion)
        if config.smooth == "expansion"
        else labels
    )


def _relabelled_by_appearance(before: FaceLabels, after: FaceLabels) -> FaceLabels:
    """Return the labels `after` the appearance votes, with changed faces marked as such in `source`."""
    changed = after.rows != before.rows
    return FaceLabels(
        after.rows, after.confidence, np.where(changed, RELABELLED_BY_APPEARANCE, after.source).astype(np.uint8)
    )


def run_mesh(
    path: Path | str,
    references: Sequence[Reference],
    out: Path | str,
    config: RunConfig,
    names: Mapping[int, str] | None = None,
    cameras: Path | None = None,
) -> Result:
    """Label a mesh from masks of its views and write all results into `out`.

    Parameters
    ----------
    path : Path or str
        Mesh file.
    references : sequence of Reference
        Masks with their view numbers, not empty.
    out : Path or str
        Result folder.
    config : RunConfig
    names : mapping of int to str, optional
        Names of part values.
    cameras : Path, optional
        A ``cameras.json``. View numbers then count its views instead of those of
        :func:`slime3d.rendering.cameras.orbit_cameras`.

    Returns
    -------
    Result

    Raises
    ------
    SlimeError
        The mesh, a mask, a setting or the folder is invalid. Nothing is written in this case.
    """
    path, out = Path(path), Path(out)
    timer = StageTimer()
    made_of = provenance(path, config, references, names, cameras)
    with timer.stage("load"):
        mesh = load_mesh(path)
    with timer.stage("render"):
        views = _orbit_or_read_cameras(mesh, config, cameras)
        _require_views(references, len(views))
        _require_same_views(references, views)
        renderer = build_renderer(config.renderer)
        annotated_cameras = views.at([r.view for r in references])
        single_cameras = [annotated_cameras[i : i + 1] for i in range(len(annotated_cameras))]
        face_id = np.concatenate(
            [renderer.rasterize(mesh.vertices, mesh.faces, camera).face_id for camera in single_cameras]
        )
    with timer.stage("label"):
        given = read_references(references, face_id, names, config.unlabelled_faces)
        labels = label_mesh(mesh, face_id, given.rows, given.parts, config, annotated_cameras, renderer, given.weight)
    with timer.stage("write"):
        seen = np.zeros(len(mesh.faces), bool)
        seen[face_id[face_id >= 0]] = True
        labelled = LabelledMesh(mesh, path.name, labels, given.parts, seen)
        files = write_results(out, labelled, config, renderer)
        annotated = [r.view for r in references]
        write_json(out / "cameras.json", cameras_entry(views, mesh=path.name, up=config.up, annotated=annotated))
    seconds = {stage: round(value, 3) for stage, value in timer.seconds.items()}
    notes = (*mesh.notes, *given.notes)
    report = _report(labelled, references, config, seconds, notes)
    report.update(made_of=made_of, files=[*files, "cameras.json"])
    report["mesh"]["path"] = os.path.relpath(path, out)  # read by slime3d transfer
    write_json(out / "report.json", report)
    return Result(labels, given.parts, seen, notes, report)


def _require_same_views(references: Sequence[Reference], cameras: Cameras) -> None:
    """Refuse a mask beside views rendered with other cameras, as it would label the wrong faces unnoticed."""
    for reference in references:
        file = reference.path.parent / "cameras.json"
        try:
            rendered = read_cameras(file).pose[:, :3, :3]  # rotations only: an edited mesh keeps its view directions
        except InputError:  # no such file, or no cameras in it
            continue
        view = reference.view
        if (
            view >= len(rendered)
            or np.abs(rendered[view] - cameras.pose[view, :3, :3]).max() > _SAME_ROTATION_TOLERANCE
        ):
            raise InputError(
                f"{reference.path}: {file.name} beside it says that view {view} was rendered from another side; give "
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
    duplicates = sorted({n for n in numbers if numbers.count(n) > 1})
    if duplicates:
        raise InputError(f"view {duplicates[0]} has two masks; give each its own view: --ref 0=a.png --ref 5=b.png")


def _report(
    labelled: LabelledMesh,
    references: Sequence[Reference],
    config: RunConfig,
    seconds: Mapping[str, float],
    notes: Sequence[str],
) -> dict[str, Any]:
    mesh, labels = labelled.mesh, labelled.labels
    areas = mesh.areas()
    share = np.bincount(labels.source, areas, minlength=len(SOURCES)) / areas.sum()
    return {
        "versions": versions("trimesh", "scipy", "numba", "PyMaxflow"),
        "mesh": {
            "file": labelled.name,
            "faces": len(mesh.faces),
            "vertices": len(mesh.vertices),
            "nodes": len(mesh.node_names),
            "without_area": int((areas == 0).sum()),
        },
        "references": [{"view": r.view, "file": r.path.name} for r in references],
        "parts": parts_entry(labelled.parts),
        "settings": to_dict(config),
        "faces": {name: int((labels.source == i).sum()) for i, name in enumerate(SOURCES)},
        "area_share": {name: round(float(share[i]), 4) for i, name in enumerate(SOURCES)},
        "seen": int(labelled.seen.sum()),
        "confidence": round(float((labels.confidence * areas).sum() / areas.sum()), 4),
        "seconds": dict(seconds),
        "peak_memory_mb": peak_memory_mb(),
        "notes": list(notes),
    }
