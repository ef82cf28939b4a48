"""Sources and targets of a label transfer: result folders of runs, label files, and mesh files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.io.label_files import read_label_file, vertex_to_face_labels
from slime3d.io.mesh import Mesh, load_mesh
from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.io.masks import MaskFile, make_parts
from slimecore.types import Parts
from slimecore.user_files import read_json

__all__ = ["SUFFIXES", "LabelledSource", "mesh_files", "read_annotated"]

SUFFIXES = {".obj", ".glb", ".gltf", ".ply", ".off", ".stl"}  # of mesh files in a folder


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSource:
    """Labelled mesh read from disk.

    Parameters
    ----------
    mesh : Mesh
    rows : (F,) int64
        Part row of every face, -1 = unlabelled.
    parts : Parts
    mesh_path : Path
    """

    mesh: Mesh
    rows: Array
    parts: Parts
    mesh_path: Path


def read_annotated(source: Path, mesh: Path | None) -> LabelledSource:
    """Read the labels of a run's folder, or of any label file ``slime3d eval`` reads, and their mesh.

    Parameters
    ----------
    source : Path
    mesh : Path, optional
        The labelled mesh. The default is the mesh recorded by the run, or the mesh beside the labels.

    Returns
    -------
    LabelledSource

    Raises
    ------
    InputError
        Labels or mesh are missing, or their numbers of faces differ.
    """
    if not source.exists():
        raise InputError(f"no such file or folder: {source}; give a folder of slime3d run or a parts.safetensors")
    file = read_label_file(source)
    path = mesh or file.mesh or _find_source_mesh(source)
    if path is None:
        raise InputError(f"{source}: its mesh is not beside it; say where it is with --source-mesh MESH")
    loaded = load_mesh(path)
    file = vertex_to_face_labels(file, loaded.faces, len(loaded.vertices), str(source))
    if not (file.values > 0).any():
        raise InputError(f"{source}: no face is labelled with a part")
    values = np.where(file.values >= 0, file.values, -1)
    parts = make_parts(MaskFile(values.reshape(-1, 1), _part_colors(source)), file.names)
    return LabelledSource(loaded, parts.index(values), parts, path)


def _read_json_object(path: Path) -> dict[str, Any]:
    """Read a JSON object, empty if the file is missing or invalid."""
    try:
        raw = read_json(path)
    except (OSError, ValueError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _find_source_mesh(source: Path) -> Path | None:
    """Find the mesh of a run: the path in its report, or its name in the folder, the parent, or the working folder."""
    folder = source if source.is_dir() else source.parent
    entry = _read_json_object(folder / "report.json").get("mesh")
    entry = entry if isinstance(entry, dict) else {}
    name = str(entry.get("file") or _read_json_object(folder / "labels.json").get("mesh") or "")
    options = [folder / str(entry["path"])] if entry.get("path") else []
    options += [parent / name for parent in (folder, folder.parent, Path()) if name]
    return next((path for path in options if path.is_file()), None)


def _part_colors(source: Path) -> dict[int, tuple[int, int, int]]:
    """Return the colours of part values from a ``labels.json`` of this project, empty without colours."""
    raw = _read_json_object(source / "labels.json" if source.is_dir() else source) if source.suffix != ".npy" else {}
    try:
        return {int(p["value"]): (int(p["color"][0]), int(p["color"][1]), int(p["color"][2])) for p in raw["parts"]}
    except (KeyError, TypeError, ValueError, IndexError):
        return {}


def mesh_files(given: Sequence[Path]) -> list[tuple[str, Path]]:
    """List (name, file) of all given mesh files and of the meshes in given folders.

    Raises
    ------
    InputError
        A path does not exist, a folder holds no mesh, or the results of two meshes would overwrite each other.
    """
    out: dict[str, Path] = {}
    for entry in given:
        if entry.is_dir():
            files = sorted(p for p in entry.iterdir() if p.suffix.lower() in SUFFIXES)
            if not files:
                raise InputError(f"{entry}: no mesh in this folder ({', '.join(sorted(SUFFIXES))})")
        elif entry.is_file():
            files = [entry]
        else:
            raise InputError(f"no such mesh: {entry}")
        for path in files:
            if out.setdefault(path.stem, path) != path:
                raise InputError(f"{out[path.stem]} and {path} would both be written as {path.stem}; rename one")
    return list(out.items())
