"""Evaluation of face labels: IoU of every part by area and by count, best match without names, Rand index."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.io.label_files import RUN_FILES, LabelFile, read_label_file, vertex_to_face_labels
from slime3d.io.mesh import MESH_SUFFIXES, load_mesh
from slimecore.array_types import Array
from slimecore.errors import InputError

__all__ = ["MeshScore", "evaluate", "match_files", "score_labels", "score_table", "scores_entry"]


@dataclass(frozen=True, slots=True)
class MeshScore:
    """Scores of a mesh, 0..1. Scores by area are None if the mesh is not available.

    Parameters
    ----------
    name : str
    iou_area, iou_count : mapping of str to float
        Intersection over union of every part of the ground truth.
    best_area, best_count : float
        Mean over the true parts of the best IoU with any predicted part, regardless of its name.
    rand_area, rand_count : float
        Rand index (Rand, 1971) over pairs of surface points, and over pairs of faces.
    """

    name: str
    iou_area: Mapping[str, float] | None
    iou_count: Mapping[str, float]
    best_area: float | None
    best_count: float
    rand_area: float | None
    rand_count: float

    @property
    def miou_area(self) -> float | None:
        """Return the mean IoU over parts, by area."""
        return None if self.iou_area is None else float(np.mean(list(self.iou_area.values())))

    @property
    def miou_count(self) -> float:
        """Return the mean IoU over parts, by count."""
        return float(np.mean(list(self.iou_count.values())))


def score_labels(
    predicted: Array, truth: Array, weights: Array, parts: Sequence[int] | None = None
) -> tuple[dict[int, float], float]:
    """Compute the IoU of every part of the ground truth.

    Parameters
    ----------
    predicted, truth : (F,) int
        Part values. Faces with truth -1 are ignored.
    weights : (F,) float
        Areas, or ones.
    parts : sequence of int, optional
        Parts to score. The default is all parts of the ground truth.

    Returns
    -------
    iou : dict of int to float
        IoU of every scored part, 0..1.
    best : float
        Mean over the scored parts of the best IoU with any predicted value.
    """
    table, rows, columns = _contingency_table(predicted, truth, weights)
    union = table.sum(1)[:, None] + table.sum(0)[None] - table
    iou = np.divide(table, union, out=np.zeros_like(table), where=union > 0)
    scored_rows = [r for r in range(len(rows)) if parts is None or int(rows[r]) in set(parts)]
    column_of = {int(v): i for i, v in enumerate(columns)}
    iou_of_part = {
        int(rows[r]): float(iou[r, column_of[int(rows[r])]]) if int(rows[r]) in column_of else 0.0 for r in scored_rows
    }
    return iou_of_part, float(iou[scored_rows].max(1).mean())


def _contingency_table(predicted: Array, truth: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Return the weights of all pairs of true (rows) and predicted (columns) values, and both lists of values."""
    labelled = truth >= 0
    rows, row = np.unique(truth[labelled], return_inverse=True)
    columns, column = np.unique(predicted[labelled], return_inverse=True)
    flat = np.bincount(row * len(columns) + column, weights[labelled], minlength=len(rows) * len(columns))
    return flat.reshape(len(rows), len(columns)), rows, columns


def rand_index(predicted: Array, truth: Array, weights: Array | None = None) -> float:
    """Compute the Rand index (Rand, 1971) over pairs of distinct faces.

    Parameters
    ----------
    predicted, truth : (F,) int
        Part values. Faces with truth -1 are ignored.
    weights : (F,) float, optional
        Areas, for pairs of surface points instead of faces.

    Returns
    -------
    float
        0..1.
    """
    table = _contingency_table(predicted, truth, np.ones(len(truth)) if weights is None else weights)[0]
    total = table.sum()
    disagreement = (table.sum(0) ** 2).sum() + (table.sum(1) ** 2).sum() - 2 * (table**2).sum()
    pairs = total**2 if weights is not None else total * (total - 1)
    return float(1 - disagreement / pairs) if pairs else 1.0


def evaluate(predicted: Path, truth: Path, mesh: Path | None, name: str) -> MeshScore:
    """Evaluate the labels of a mesh.

    Parts are matched by name if both files have a name in common, else by value.

    Parameters
    ----------
    predicted, truth : Path
        Label files. See :func:`slime3d.io.label_files.read_label_file`.
    mesh : Path or None
        Mesh, for areas and vertex labels. The default is the mesh named by a label file.
    name : str

    Returns
    -------
    MeshScore

    Raises
    ------
    InputError
        A file is unreadable, or its labels do not belong to the same mesh.
    """
    files = {"pred": read_label_file(predicted), "truth": read_label_file(truth)}
    mesh = mesh or files["truth"].mesh or files["pred"].mesh
    areas = None
    if mesh is not None:
        loaded = load_mesh(mesh)
        areas = loaded.areas()
        for key, path in (("pred", predicted), ("truth", truth)):
            files[key] = vertex_to_face_labels(files[key], loaded.faces, len(loaded.vertices), str(path))
    values, real = _match_values(files["pred"], files["truth"]), files["truth"]
    if len(values) != len(real.values):
        raise InputError(
            f"{predicted}: {len(values)} labels, but {truth} has {len(real.values)}; labels of vertices need --mesh"
        )
    if not (real.values >= 0).any():
        raise InputError(f"{truth}: no face is labelled")
    ones = np.ones(len(values))
    count, best_count = score_labels(values, real.values, ones)
    area, best_area = (None, None) if areas is None else score_labels(values, real.values, areas)

    def named(iou: Mapping[int, float]) -> dict[str, float]:
        return {real.names.get(value, f"part {value}"): share for value, share in iou.items()}

    return MeshScore(
        name,
        None if area is None else named(area),
        named(count),
        best_area,
        best_count,
        None if areas is None else rand_index(values, real.values, areas),
        rand_index(values, real.values),
    )


def _match_values(predicted: LabelFile, truth: LabelFile) -> Array:
    """Renumber predicted values (F,) by the names of the ground truth."""
    value_of_name = {name: value for value, name in truth.names.items()}
    if not set(value_of_name) & set(predicted.names.values()):
        return predicted.values
    values, index = np.unique(predicted.values, return_inverse=True)
    unused_value = max([0, *truth.names, *(int(v) for v in values)]) + 1  # unknown names get values without a true part
    table = [value_of_name.get(predicted.names.get(int(v), ""), unused_value + i) for i, v in enumerate(values)]
    return np.asarray(table)[index]


def match_files(predicted: Path, truth: Path, mesh: Path | None) -> list[tuple[str, Path, Path, Path | None]]:
    """Match two label files, or the files of two folders by name.

    If the folder of true labels holds only folders, names are relative paths, as in results of ``slime3d run FOLDER``.

    Parameters
    ----------
    predicted, truth : Path
        Two files, or two folders.
    mesh : Path or None
        Mesh file, or folder of meshes.

    Returns
    -------
    list of (name, prediction, truth, mesh)

    Raises
    ------
    InputError
        The folder holds no true labels, or a file has no prediction.
    """
    if truth.is_file() or any((truth / name).is_file() for name in RUN_FILES):
        return [(_stem(truth), predicted, truth, mesh)]
    if not truth.is_dir() or not predicted.is_dir():
        missing = truth if not truth.is_dir() else predicted
        raise InputError(f"no such file or folder: {missing}" if not missing.exists() else f"{missing} is no folder")
    suffixes = {".json", ".seg", ".npy", ".txt"}
    files = [p for p in sorted(truth.rglob("*")) if p.suffix in suffixes and p.is_file()]
    files = [p for p in files if p.parent == truth] or files  # subfolders only if the folder itself has no files
    truths = {(p.parent.relative_to(truth) / _stem(p)).as_posix(): p for p in files}
    if not truths:
        raise InputError(f"{truth}: no labels in this folder (.labels.json, .seg, .npy, .txt)")
    matches = []
    for name, file in truths.items():
        options = [predicted / name, *(predicted / f"{name}{suffix}" for suffix in (".npy", ".json", ".labels.json"))]
        prediction = next((p for p in options if p.exists()), None)
        if prediction is None:
            raise InputError(f"{predicted}: nothing for {name}; expected {options[0]}/ or {options[1].name}")
        matches.append((name, prediction, file, None if mesh is None else _find_mesh(mesh, name)))
    return matches


def _find_mesh(folder: Path, name: str) -> Path:
    """Return the mesh file of a name in a folder."""
    path = folder / name
    files = sorted(path.parent.iterdir()) if path.parent.is_dir() else []
    meshes = [file for file in files if file.stem == path.name and file.suffix.lower() in MESH_SUFFIXES]
    if not meshes:
        raise InputError(f"{folder}: no mesh of the name {name}; expected {path.with_name(path.name + '.obj')}, say")
    return meshes[0]


def _stem(path: Path) -> str:
    return path.name.removesuffix(path.suffix).removesuffix(".labels")


def scores_entry(scores: Sequence[MeshScore]) -> dict[str, Any]:
    """Return the content of the file written by ``--json``."""
    listed = [
        {
            "name": s.name,
            "miou_area": s.miou_area,
            "miou_count": s.miou_count,
            "best_match_area": s.best_area,
            "best_match_count": s.best_count,
            "rand_area": s.rand_area,
            "rand_count": s.rand_count,
            "iou_area": s.iou_area,
            "iou_count": s.iou_count,
        }
        for s in scores
    ]
    keys = ("miou_area", "miou_count", "best_match_area", "best_match_count", "rand_area", "rand_count")
    means = {key: _mean_or_none([entry[key] for entry in listed]) for key in keys}
    return {"mean": means, "meshes": listed}


def _mean_or_none(values: Sequence[Any]) -> float | None:
    present = [float(v) for v in values if v is not None]
    return float(np.mean(present)) if len(present) == len(values) else None


def score_table(scores: Sequence[MeshScore]) -> str:
    """Format scores in per cent: a line for each mesh, the means, and the parts of a single mesh."""
    entry = scores_entry(scores)
    keys = list(entry["mean"])
    width = max(4, *(len(s.name) for s in scores))
    lines = [f"{'mesh':<{width}}  mIoU area  mIoU count  best area  best count  Rand area  Rand count"]
    for row in [*entry["meshes"], *([{"name": "mean", **entry["mean"]}] if len(scores) > 1 else [])]:
        cells = [f"{'-' if row[key] is None else format(100 * row[key], '.2f'):>9}" for key in keys]
        lines.append(f"{row['name']:<{width}}  " + "  ".join(cells))
    if len(scores) == 1:
        score = scores[0]
        lines.append("")
        for part, share in score.iou_count.items():
            area = "-" if score.iou_area is None else f"{100 * score.iou_area[part]:.2f}"
            lines.append(
                f"  {part:<{max(map(len, score.iou_count))}}  IoU by area {area:>6}, by count {100 * share:.2f}"
            )
    return "\n".join(lines)
