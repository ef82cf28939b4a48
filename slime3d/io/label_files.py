"""Face-label files of this project and of data sets: JSON, npy, Princeton .seg, and vertex labels."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.io.object_arrays import read_object_array
from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.user_files import read_array, read_json, read_user_text

__all__ = ["RUN_FILES", "LabelFile", "read_label_file", "vertex_to_face_labels"]

RUN_FILES = ("labels.json", "face_labels.npy")  # in a result folder, the file with names first


@dataclass(frozen=True, slots=True, eq=False)
class LabelFile:
    """Content of a label file.

    Parameters
    ----------
    values : (F,) int64
        Part values, -1 = unlabelled. Values of files that count parts from 0 are raised by 1, as in masks.
    names : mapping of int to str
        Names of values, empty if the file has none.
    mesh : Path or None
        Mesh named in the file, if it exists beside it.
    """

    values: Array
    names: Mapping[int, str]
    mesh: Path | None = None


def read_label_file(path: Path) -> LabelFile:
    """Read labels of faces or vertices.

    Parameters
    ----------
    path : Path
        A label file, or a result folder of this project:

        - ``labels.json`` or ``face_labels.npy`` of this project,
        - ``NAME.labels.json`` with ``labels`` as indices from 0 into ``parts``,
        - ``.npy`` of integers, in which 0 is a part if the file contains -1,
        - ``.npy`` of a dict with integers under ``semantic_seg`` (PartNet-E's ``label.npy``),
        - ``.seg`` or ``.txt`` with an integer a line, from 0,
        - a JSON list with an integer or a name for each vertex or face.

    Returns
    -------
    LabelFile

    Raises
    ------
    InputError
        The file is missing or invalid.
    """
    if path.is_dir():
        files = [path / name for name in RUN_FILES if (path / name).is_file()]
        if not files:
            raise InputError(f"{path}: no labels.json and no face_labels.npy in this folder")
        path = files[0]
    try:
        if path.suffix == ".npy":
            return _from_npy(path)
        if path.suffix == ".json":
            return _from_json(read_json(path), path)
        text = read_user_text(path)
        return LabelFile(_shift_to_one(np.array(text.split()).astype(np.int64)), {})
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise InputError(f"{path}: no face labels that can be read ({reason})") from error


def _from_npy(path: Path) -> LabelFile:
    array = _load_npy(path)
    if not np.issubdtype(array.dtype, np.integer) or array.ndim != 1:
        raise InputError(f"{path}: expected one integer a face, got {array.dtype} {array.shape}")
    values = array.astype(np.int64)
    return LabelFile(_shift_to_one(values) if (values < 0).any() else values, {})


def _load_npy(path: Path) -> Array:
    """Load an array, or the labels of a pickled dict without running its code."""
    try:
        return read_array(path)
    except ValueError as error:
        try:
            content = read_object_array(path)
            return np.asarray(content["semantic_seg"] if isinstance(content, dict) else content)
        except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as reason:
            raise InputError(
                f"{path}: Python objects without integer 'semantic_seg' ({reason}); save the labels alone with np.save"
            ) from error


def _shift_to_one(labels: Array) -> Array:
    """Convert labels from 0 to values from 1, with negative labels as unlabelled."""
    if not len(labels):
        raise InputError("no labels in it")
    return np.where(labels < 0, -1, labels + 1)


def _from_json(raw: Any, path: Path) -> LabelFile:
    if isinstance(raw, list):
        return _from_label_list(raw)
    parts = raw["parts"]
    if parts and isinstance(parts[0], Mapping):  # labels.json of this project
        names = {int(p["value"]): str(p["name"]) for p in parts}
        return LabelFile(np.array(raw["labels"], np.int64), names, _mesh_beside(path, raw))
    names = {i + 1: str(name) for i, name in enumerate(parts)}
    return LabelFile(_shift_to_one(np.array(raw["labels"], np.int64)), names, _mesh_beside(path, raw))


def _from_label_list(raw: list[Any]) -> LabelFile:
    if all(isinstance(label, str) for label in raw):
        names = sorted(set(raw))
        numbers = {name: i + 1 for i, name in enumerate(names)}
        return LabelFile(np.array([numbers[label] for label in raw]), dict(enumerate(names, 1)))
    return LabelFile(_shift_to_one(np.array(raw, np.int64)), {})


def _mesh_beside(path: Path, raw: Mapping[str, Any]) -> Path | None:
    mesh = path.parent / str(raw.get("mesh", ""))
    return mesh if mesh.is_file() else None


def vertex_to_face_labels(file: LabelFile, faces: Array, vertices: int, source: str) -> LabelFile:
    """Convert vertex labels to face labels by the majority of each face's corners.

    Parameters
    ----------
    file : LabelFile
        Labels of faces, returned unchanged, or labels of vertices.
    faces : (F, 3) int64
    vertices : int
        Number of vertices.
    source : str
        Name of the file in messages.

    Returns
    -------
    LabelFile

    Raises
    ------
    InputError
        The number of labels is neither that of the faces nor that of the vertices.
    """
    if len(file.values) == len(faces):
        return file
    if len(file.values) != vertices:
        raise InputError(
            f"{source}: {len(file.values)} labels, but the mesh has {len(faces)} faces, {vertices} vertices"
        )
    a, b, c = file.values[faces].T
    return replace(file, values=np.where(b == c, b, a))
