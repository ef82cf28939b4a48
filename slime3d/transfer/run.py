"""Function behind ``slime3d transfer``."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np

from slime3d.io.mesh import Mesh, load_mesh
from slime3d.labelling.random_walk import FaceLabels
from slime3d.output.results import LabelledMesh, write_results
from slime3d.rendering.cameras import orbit_cameras
from slime3d.rendering.renderers import build_renderer
from slime3d.transfer.labels import PreparedMesh, SourceMesh, TransferConfig, transfer_labels
from slime3d.transfer.sources import mesh_files, read_annotated
from slimecore.array_types import Array
from slimecore.config import to_dict
from slimecore.errors import ConfigError, InputError, InputProblems
from slimecore.io.atomic_files import make_folder, write_json
from slimecore.io.result_folder import lock_folder
from slimecore.provenance.report import parts_entry, peak_memory_mb, versions
from slimecore.types import Parts

__all__ = ["TransferRunConfig", "run_transfer"]

LabelledTarget = tuple[FaceLabels, Array, dict[str, Any]]  # labels, visible faces (F,) bool, report entries


@dataclass(frozen=True, slots=True)
class TransferRunConfig:
    """Settings of ``slime3d transfer``.

    Parameters
    ----------
    views : int
        Rendered views on which learned parts are read.
    size : int
        Side of the square views, pixels.
    up : str
        Up axis of the files.
    renderer : str
        ``zbuffer``, ``embree`` or ``pytorch3d``.
    rest : bool
        With learned parts, faces may also be labelled 0, the rest.
    turntable_frames : int
        Frames of the turntable, 0 .. 10000, 0 = no turntable.
    device : str
        Device of the model of learned parts: ``auto``, ``cpu``, ``cuda`` or ``mps``.
    seed : int
    transfer : TransferConfig
    """

    views: int = 12
    size: int = 512
    up: str = "y"
    renderer: str = "zbuffer"
    rest: bool = False
    turntable_frames: int = 0
    device: str = "auto"
    seed: int = 0
    transfer: TransferConfig = field(default_factory=TransferConfig)

    RENAMED = MappingProxyType({"frames": "turntable_frames"})

    def __post_init__(self) -> None:
        if not 0 <= self.turntable_frames <= 10000:
            raise ConfigError(f"turntable_frames must be 0 .. 10000, got {self.turntable_frames}")


def run_transfer(
    source: Path,
    targets: Sequence[Path],
    out: Path,
    config: TransferRunConfig | None = None,
    source_mesh: Path | None = None,
    notify: Callable[[str, int, int], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Label meshes by transfer from a labelled mesh, or by learned parts, into a folder for each below `out`.

    Parameters
    ----------
    source : Path
        Folder of ``slime3d run``, a label file, or a ``parts.safetensors``.
    targets : sequence of Path
        Mesh files, or folders of meshes.
    out : Path
        Result folder.
    config : TransferRunConfig, optional
    source_mesh : Path, optional
        Mesh of the source's labels, if its recorded path is out of date.
    notify : callable, optional
        Called with ``("transfer", done, total)`` after every mesh.

    Returns
    -------
    dict
        Report of every mesh by its name.

    Raises
    ------
    SlimeError
        The source or a setting is invalid, or another process writes into `out`, and nothing is written. An invalid
        target is reported after the other targets are labelled.
    """
    with lock_folder(out):
        return _run_transfer(source, targets, out, config or TransferRunConfig(), source_mesh, notify)


def _run_transfer(
    source: Path,
    targets: Sequence[Path],
    out: Path,
    config: TransferRunConfig,
    source_mesh: Path | None,
    notify: Callable[[str, int, int], None] | None,
) -> dict[str, dict[str, Any]]:
    jobs = mesh_files(targets)
    renderer = build_renderer(config.renderer)
    if source.suffix == ".safetensors":
        parts, label = _view_labeller(source, config, renderer)
    else:
        parts, label = _mesh_labeller(source, source_mesh, config)
    reports: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for done, (name, path) in enumerate(jobs, 1):
        started = time.perf_counter()
        try:
            mesh = load_mesh(path)
            labels, seen, details = label(mesh)
            make_folder(out)
            folder = make_folder(out / name)
            files = write_results(folder, LabelledMesh(mesh, path.name, labels, parts, seen), config, renderer)
        except InputError as error:
            problems.append(" ".join(str(error).split()))
            continue
        reports[name] = _report(source, path, mesh, labels, parts, config, details, time.perf_counter() - started)
        reports[name]["files"] = list(files)
        write_json(folder / "report.json", reports[name])
        if notify:
            notify("transfer", done, len(jobs))
    if problems:
        raise InputProblems(problems)
    return reports


def _mesh_labeller(
    source: Path, source_mesh: Path | None, config: TransferRunConfig
) -> tuple[Parts, Callable[[Mesh], LabelledTarget]]:
    """Return the parts of a labelled mesh, and a function that transfers its labels to a target."""
    given = read_annotated(source, source_mesh)
    donor = SourceMesh.of(PreparedMesh.of(given.mesh, config.transfer), given.rows, len(given.parts))

    def label(mesh: Mesh) -> LabelledTarget:
        result = transfer_labels(donor, PreparedMesh.of(mesh, config.transfer), config.transfer)
        details = {
            "weights": {name: round(weight, 4) for name, weight in result.weights.items()},
            "alignment": {
                "turn": np.round(result.alignment.turn, 6).tolist(),
                "scale": result.alignment.scale,
                "distance": round(result.alignment.distance, 4),
            },
        }
        return result.labels, np.zeros(len(mesh.faces), bool), details

    return given.parts, label


def _view_labeller(
    source: Path, config: TransferRunConfig, renderer: Any
) -> tuple[Parts, Callable[[Mesh], LabelledTarget]]:
    """Return the parts of a ``parts.safetensors``, and a function that labels a target on rendered views."""
    from slime3d.transfer.learned_parts import ViewLabeller

    labeller = ViewLabeller.load(source, device=config.device, seed=config.seed, rest=config.rest)

    def label(mesh: Mesh) -> LabelledTarget:
        cameras = orbit_cameras(mesh.used(), config.views, config.size, config.up)
        labels, seen = labeller(mesh, cameras, renderer, config.transfer)
        return labels, seen, {"views": config.views}

    return labeller.parts, label


def _report(
    source: Path,
    path: Path,
    mesh: Mesh,
    labels: FaceLabels,
    parts: Parts,
    config: TransferRunConfig,
    details: dict[str, Any],
    seconds: float,
) -> dict[str, Any]:
    areas = mesh.areas()
    return {
        "versions": versions("trimesh", "scipy", "numba"),
        "source": source.name,
        "mesh": {"file": path.name, "faces": len(mesh.faces), "vertices": len(mesh.vertices)},
        "parts": parts_entry(parts),
        "settings": to_dict(config),
        **details,
        "confidence": round(float((labels.confidence * areas).sum() / areas.sum()), 4),
        "seconds": round(seconds, 3),
        "peak_memory_mb": peak_memory_mb(),
        "notes": list(mesh.notes),
    }
