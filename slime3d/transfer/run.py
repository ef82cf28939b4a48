"""``slime3d transfer``, as a function."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
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
from slimecore.provenance.report import parts_entry, peak_memory_mb, versions
from slimecore.types import Parts

__all__ = ["TransferRunConfig", "run_transfer"]

Found = tuple[FaceLabels, Array, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class TransferRunConfig:
    """Settings of ``slime3d transfer``.

    Parameters
    ----------
    views : int
        Views learned parts are read on.
    size : int
        Side of those pictures, pixels.
    up : str
        Axis of the files that points up.
    renderer : str
        ``zbuffer``, ``embree`` or ``pytorch3d``.
    rest : bool
        Learned parts: a face may also be labelled 0, the rest.
    frames : int
        Frames of a turntable, 0 for none.
    device : str
        Of the model that learned parts are read with.
    seed : int
    transfer : TransferConfig
    """

    views: int = 12
    size: int = 512
    up: str = "y"
    renderer: str = "zbuffer"
    rest: bool = False
    frames: int = 0
    device: str = "auto"
    seed: int = 0
    transfer: TransferConfig = field(default_factory=TransferConfig)

    def __post_init__(self) -> None:
        if not 0 <= self.frames <= 10000:
            raise ConfigError(f"frames must be 0 .. 10000, got {self.frames}")


def run_transfer(
    source: Path,
    targets: Sequence[Path],
    out: Path,
    config: TransferRunConfig | None = None,
    source_mesh: Path | None = None,
    notify: Callable[[str, int, int], None] | None = None,
) -> dict[str, dict[str, Any]]:
    """Label meshes as another mesh is labelled, or by learned parts; a folder a mesh below `out`.

    Parameters
    ----------
    source : Path
        Folder of ``slime3d run``, a label file, or a ``parts.safetensors``.
    targets : sequence of Path
        Meshes, or folders of them.
    out : Path
    config : TransferRunConfig, optional
    source_mesh : Path, optional
        Mesh of the source's labels, if it is not where the labels say.
    notify : callable, optional
        Told ``("transfer", done, all)`` after every mesh.

    Returns
    -------
    dict
        Report of every mesh by its name.

    Raises
    ------
    SlimeError
        A source or setting that does not do: nothing is written then. A target that does not do: the others are
        labelled first.
    """
    config = config or TransferRunConfig()
    jobs = mesh_files(targets)
    tool = build_renderer(config.renderer)
    if source.suffix == ".safetensors":
        parts, label = _by_views(source, config, tool)
    else:
        parts, label = _by_mesh(source, source_mesh, config)
    reports: dict[str, dict[str, Any]] = {}
    problems: list[str] = []
    for done, (name, path) in enumerate(jobs, 1):
        started = time.perf_counter()
        try:
            mesh = load_mesh(path)
            labels, seen, how = label(mesh)
            make_folder(out)
            folder = make_folder(out / name)
            files = write_results(folder, LabelledMesh(mesh, path.name, labels, parts, seen), config, tool)
        except InputError as error:
            problems.append(" ".join(str(error).split()))
            continue
        reports[name] = _report(source, path, mesh, labels, parts, config, how, time.perf_counter() - started)
        reports[name]["files"] = list(files)
        write_json(folder / "report.json", reports[name])
        if notify:
            notify("transfer", done, len(jobs))
    if problems:
        raise InputProblems(problems)
    return reports


def _by_mesh(
    source: Path, source_mesh: Path | None, config: TransferRunConfig
) -> tuple[Parts, Callable[[Mesh], Found]]:
    given = read_annotated(source, source_mesh)
    donor = SourceMesh.of(PreparedMesh.of(given.mesh, config.transfer), given.rows, len(given.parts))

    def label(mesh: Mesh) -> Found:
        found = transfer_labels(donor, PreparedMesh.of(mesh, config.transfer), config.transfer)
        how = {
            "weights": {name: round(weight, 4) for name, weight in found.weights.items()},
            "alignment": {
                "turn": np.round(found.alignment.turn, 6).tolist(),
                "scale": found.alignment.scale,
                "distance": round(found.alignment.distance, 4),
            },
        }
        return found.labels, np.zeros(len(mesh.faces), bool), how

    return given.parts, label


def _by_views(source: Path, config: TransferRunConfig, tool: Any) -> tuple[Parts, Callable[[Mesh], Found]]:
    from slime3d.transfer.learned_parts import ViewLabeller

    labeller = ViewLabeller.load(source, device=config.device, seed=config.seed, rest=config.rest)

    def label(mesh: Mesh) -> Found:
        cameras = orbit_cameras(mesh.used(), config.views, config.size, config.up)
        labels, seen = labeller(mesh, cameras, tool, config.transfer)
        return labels, seen, {"views": config.views}

    return labeller.parts, label


def _report(
    source: Path,
    path: Path,
    mesh: Mesh,
    labels: FaceLabels,
    parts: Parts,
    config: TransferRunConfig,
    how: dict[str, Any],
    seconds: float,
) -> dict[str, Any]:
    areas = mesh.areas()
    return {
        "versions": versions("trimesh", "scipy", "numba"),
        "source": source.name,
        "mesh": {"file": path.name, "faces": len(mesh.faces), "vertices": len(mesh.vertices)},
        "parts": parts_entry(parts),
        "settings": to_dict(config),
        **how,
        "confidence": round(float((labels.confidence * areas).sum() / areas.sum()), 4),
        "seconds": round(seconds, 3),
        "peak_memory_mb": peak_memory_mb(),
        "notes": list(mesh.notes),
    }
