"""How good face labels are: IoU a part by area and by count, best match without names, Rand index."""

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
    """Figures of one mesh, 0..1; those by area are None where no mesh was at hand.

    Parameters
    ----------
    name : str
    iou_area, iou_count : mapping of str to float
        Intersection over union of every part of the truth.
    best_area, best_count : float
        Mean over the truth's parts of the best IoU with any predicted part, whatever it is called.
    rand_area, rand_count : float
        Share of pairs of faces (of pieces of area) on whose being together both agree.
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
        """Mean IoU over parts, by area."""
        return None if self.iou_area is None else float(np.mean(list(self.iou_area.values())))

    @property
    def miou_count(self) -> float:
        """Mean IoU over parts, by count."""
        return float(np.mean(list(self.iou_count.values())))


def score_labels(
    predicted: Array, truth: Array, weights: Array, parts: Sequence[int] | None = None
) -> tuple[dict[int, float], float]:
    """IoU of every part of the truth, and the mean best IoU with any predicted value.

    Parameters
    ----------
    predicted, truth : (F,) int
        Truth -1 = not labelled: such faces count for nothing.
    weights : (F,) float
        Areas, or ones.
    parts : sequence of int, optional
        Parts of the truth to score; all by default.
    """
    table, rows, columns = _table(predicted, truth, weights)
    union = table.sum(1)[:, None] + table.sum(0)[None] - table
    iou = np.divide(table, union, out=np.zeros_like(table), where=union > 0)
    wanted = [r for r in range(len(rows)) if parts is None or int(rows[r]) in set(parts)]
    place = {int(v): i for i, v in enumerate(columns)}
    found = {int(rows[r]): float(iou[r, place[int(rows[r])]]) if int(rows[r]) in place else 0.0 for r in wanted}
    return found, float(iou[wanted].max(1).mean())


def _table(predicted: Array, truth: Array, weights: Array) -> tuple[Array, Array, Array]:
    """Weight of every (true value, predicted value)."""
    known = truth >= 0
    rows, row = np.unique(truth[known], return_inverse=True)
    columns, column = np.unique(predicted[known], return_inverse=True)
    flat = np.bincount(row * len(columns) + column, weights[known], minlength=len(rows) * len(columns))
    return flat.reshape(len(rows), len(columns)), rows, columns


def rand_index(predicted: Array, truth: Array, weights: Array | None = None) -> float:
    """Rand index over pairs of different faces, or over pairs of points of the surface where `weights` are areas."""
    table = _table(predicted, truth, np.ones(len(truth)) if weights is None else weights)[0]
    total = table.sum()
    apart = (table.sum(0) ** 2).sum() + (table.sum(1) ** 2).sum() - 2 * (table**2).sum()
    pairs = total**2 if weights is not None else total * (total - 1)
    return float(1 - apart / pairs) if pairs else 1.0


def evaluate(predicted: Path, truth: Path, mesh: Path | None, name: str) -> MeshScore:
    """Measure one mesh. Parts are matched by name where both files have names in common, else by value.

    Raises
    ------
    InputError
        A file that cannot be read, or whose labels do not belong to the same mesh.
    """
    files = {"pred": read_label_file(predicted), "truth": read_label_file(truth)}
    mesh = mesh or files["truth"].mesh or files["pred"].mesh
    areas = None
    if mesh is not None:
        loaded = load_mesh(mesh)
        areas = loaded.areas()
        for key, path in (("pred", predicted), ("truth", truth)):
            files[key] = vertex_to_face_labels(files[key], loaded.faces, len(loaded.vertices), str(path))
    guess, real = _matched(files["pred"], files["truth"]), files["truth"]
    if len(guess) != len(real.values):
        raise InputError(
            f"{predicted}: {len(guess)} labels, but {truth} has {len(real.values)}; labels of vertices need --mesh"
        )
    if not (real.values >= 0).any():
        raise InputError(f"{truth}: no face is labelled")
    ones = np.ones(len(guess))
    count, best_count = score_labels(guess, real.values, ones)
    area, best_area = (None, None) if areas is None else score_labels(guess, real.values, areas)

    def named(iou: Mapping[int, float]) -> dict[str, float]:
        return {real.names.get(value, f"part {value}"): share for value, share in iou.items()}

    return MeshScore(
        name,
        None if area is None else named(area),
        named(count),
        best_area,
        best_count,
        None if areas is None else rand_index(guess, real.values, areas),
        rand_index(guess, real.values),
    )


def _matched(predicted: LabelFile, truth: LabelFile) -> Array:
    """Predicted values as the truth numbers them."""
    known = {name: value for value, name in truth.names.items()}
    if not set(known) & set(predicted.names.values()):
        return predicted.values
    values, place = np.unique(predicted.values, return_inverse=True)
    spare = max([0, *truth.names, *(int(v) for v in values)]) + 1  # a name the truth lacks is no part of it
    table = [known.get(predicted.names.get(int(v), ""), spare + i) for i, v in enumerate(values)]
    return np.asarray(table)[place]


def match_files(predicted: Path, truth: Path, mesh: Path | None) -> list[tuple[str, Path, Path, Path | None]]:
    """(name, prediction, truth, mesh) of two files, or of two folders matched by name.

    Where the folder of truths holds folders only, names are paths inside it, as those of ``slime3d run FOLDER`` are.

    Raises
    ------
    InputError
        No truth in the folder, or one without a prediction.
    """
    if truth.is_file() or any((truth / name).is_file() for name in RUN_FILES):
        return [(_stem(truth), predicted, truth, mesh)]
    if not truth.is_dir() or not predicted.is_dir():
        missing = truth if not truth.is_dir() else predicted
        raise InputError(f"no such file or folder: {missing}" if not missing.exists() else f"{missing} is no folder")
    known = {".json", ".seg", ".npy", ".txt"}
    files = [p for p in sorted(truth.rglob("*")) if p.suffix in known and p.is_file()]
    files = [p for p in files if p.parent == truth] or files  # folders below only where nothing lies here
    truths = {(p.parent.relative_to(truth) / _stem(p)).as_posix(): p for p in files}
    if not truths:
        raise InputError(f"{truth}: no labels in this folder (.labels.json, .seg, .npy, .txt)")
    out = []
    for name, file in truths.items():
        options = [predicted / name, *(predicted / f"{name}{suffix}" for suffix in (".npy", ".json", ".labels.json"))]
        found = next((p for p in options if p.exists()), None)
        if found is None:
            raise InputError(f"{predicted}: nothing for {name}; expected {options[0]}/ or {options[1].name}")
        out.append((name, found, file, None if mesh is None else _shape(mesh, name)))
    return out


def _shape(folder: Path, name: str) -> Path:
    place = folder / name
    files = sorted(place.parent.iterdir()) if place.parent.is_dir() else []
    shapes = [file for file in files if file.stem == place.name and file.suffix.lower() in MESH_SUFFIXES]
    if not shapes:
        raise InputError(f"{folder}: no mesh of the name {name}; expected {place.with_name(place.name + '.obj')}, say")
    return shapes[0]


def _stem(path: Path) -> str:
    return path.name.removesuffix(path.suffix).removesuffix(".labels")


def scores_entry(scores: Sequence[MeshScore]) -> dict[str, Any]:
    """What ``--json`` holds."""
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
    means = {key: _mean([entry[key] for entry in listed]) for key in keys}
    return {"mean": means, "meshes": listed}


def _mean(values: Sequence[Any]) -> float | None:
    known = [float(v) for v in values if v is not None]
    return float(np.mean(known)) if len(known) == len(values) else None


def score_table(scores: Sequence[MeshScore]) -> str:
    """Per cent, a mesh a line and the means below; the parts too where there is one mesh."""
    entry = scores_entry(scores)
    keys = list(entry["mean"])
    width = max(4, *(len(s.name) for s in scores))
    lines = [f"{'mesh':<{width}}  mIoU area  mIoU count  best area  best count  Rand area  Rand count"]
    for row in [*entry["meshes"], *([{"name": "mean", **entry["mean"]}] if len(scores) > 1 else [])]:
        cells = [f"{'-' if row[key] is None else format(100 * row[key], '.2f'):>9}" for key in keys]
        lines.append(f"{row['name']:<{width}}  " + "  ".join(cells))
    if len(scores) == 1:
        one = scores[0]
        lines.append("")
        for part, share in one.iou_count.items():
            area = "-" if one.iou_area is None else f"{100 * one.iou_area[part]:.2f}"
            lines.append(f"  {part:<{max(map(len, one.iou_count))}}  IoU by area {area:>6}, by count {100 * share:.2f}")
    return "\n".join(lines)
