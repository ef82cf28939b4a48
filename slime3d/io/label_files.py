"""Face labels on disk, of this project and of data sets: json, npy, Princeton .seg, labels of vertices."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.io.object_arrays import read_object_array
from slimecore.array_types import Array
from slimecore.errors import InputError

__all__ = ["RUN_FILES", "LabelFile", "read_label_file", "vertex_to_face_labels"]

RUN_FILES = ("labels.json", "face_labels.npy")  # of a run's folder, the one that says more first


@dataclass(frozen=True, slots=True, eq=False)
class LabelFile:
    """Labels as read.

    Parameters
    ----------
    values : (F,) int64
        Part values; -1 = not labelled. Where a file counts parts from 0 they count from 1 here, as in masks.
    names : mapping of int to str
        Names of values, where the file has them.
    mesh : Path or None
        Mesh the file names, if it lies beside it.
    """

    values: Array
    names: Mapping[int, str]
    mesh: Path | None = None


def read_label_file(path: Path) -> LabelFile:
    """Read face (or vertex) labels.

    Parameters
    ----------
    path : Path
        ``labels.json`` or ``face_labels.npy`` of this project, or a folder with one of them; ``NAME.labels.json``
        with ``labels`` counting from 0 in ``parts``; ``.npy`` of integers (with -1 in it, 0 is a part), or
        of a dict with such a ``semantic_seg`` (PartNet-E's ``label.npy``);
        ``.seg`` or ``.txt`` with one integer a line, from 0; a JSON list of integers or names, one a vertex or face.

    Raises
    ------
    InputError
        Missing or not such a file.
    """
    if path.is_dir():
        files = [path / name for name in RUN_FILES if (path / name).is_file()]
        if not files:
            raise InputError(f"{path}: no labels.json and no face_labels.npy in this folder")
        path = files[0]
    try:
        if path.suffix == ".npy":
            return _from_npy(path)
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".json":
            return _from_json(json.loads(text), path)
        return LabelFile(_counted(np.array(text.split()).astype(np.int64)), {})
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: no face labels that can be read ({reason})") from error


def _from_npy(path: Path) -> LabelFile:
    array = _array(path)
    if not np.issubdtype(array.dtype, np.integer) or array.ndim != 1:
        raise InputError(f"{path}: expected one integer a face, got {array.dtype} {array.shape}")
    values = array.astype(np.int64)
    return LabelFile(_counted(values) if (values < 0).any() else values, {})


def _array(path: Path) -> Array:
    try:
        return np.asarray(np.load(path, allow_pickle=False))
    except ValueError as error:
        try:
            found = read_object_array(path)
            return np.asarray(found["semantic_seg"] if isinstance(found, dict) else found)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as reason:
            raise InputError(
                f"{path}: Python objects without integer 'semantic_seg' ({reason}); save the labels alone with np.save"
            ) from error


def _counted(labels: Array) -> Array:
    """Labels from 0 as values from 1; what is below 0 stays unlabelled."""
    if not len(labels):
        raise InputError("no labels in it")
    return np.where(labels < 0, -1, labels + 1)


def _from_json(raw: Any, path: Path) -> LabelFile:
    if isinstance(raw, list):
        return _from_list(raw)
    parts = raw["parts"]
    if parts and isinstance(parts[0], Mapping):  # our own labels.json
        names = {int(p["value"]): str(p["name"]) for p in parts}
        return LabelFile(np.array(raw["labels"], np.int64), names, _beside(path, raw))
    names = {i + 1: str(name) for i, name in enumerate(parts)}
    return LabelFile(_counted(np.array(raw["labels"], np.int64)), names, _beside(path, raw))


def _from_list(raw: list[Any]) -> LabelFile:
    if all(isinstance(label, str) for label in raw):
        names = sorted(set(raw))
        numbers = {name: i + 1 for i, name in enumerate(names)}
        return LabelFile(np.array([numbers[label] for label in raw]), dict(enumerate(names, 1)))
    return LabelFile(_counted(np.array(raw, np.int64)), {})


def _beside(path: Path, raw: Mapping[str, Any]) -> Path | None:
    mesh = path.parent / str(raw.get("mesh", ""))
    return mesh if mesh.is_file() else None


def vertex_to_face_labels(file: LabelFile, faces: Array, vertices: int, source: str) -> LabelFile:
    """Bring labels to the faces of a mesh: those of vertices become the majority of a face's corners.

    Raises
    ------
    InputError
        There are neither as many labels as faces nor as vertices.
    """
    if len(file.values) == len(faces):
        return file
    if len(file.values) != vertices:
        raise InputError(
            f"{source}: {len(file.values)} labels, but the mesh has {len(faces)} faces, {vertices} vertices"
        )
    a, b, c = file.values[faces].T
    return replace(file, values=np.where(b == c, b, a))
