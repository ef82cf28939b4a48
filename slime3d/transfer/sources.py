"""Where the labels of a transfer come from: the folder of a run, a label file, or learned parts."""

from __future__ import annotations

import json
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

__all__ = ["SUFFIXES", "LabelledSource", "mesh_files", "read_annotated"]

SUFFIXES = {".obj", ".glb", ".gltf", ".ply", ".off", ".stl"}  # of the meshes in a folder


@dataclass(frozen=True, slots=True, eq=False)
class LabelledSource:
    """A labelled mesh from disk.

    Parameters
    ----------
    mesh : Mesh
    rows : (F,) int64
        Part row of every face, -1 = not labelled.
    parts : Parts
    mesh_path : Path
    """

    mesh: Mesh
    rows: Array
    parts: Parts
    mesh_path: Path


def read_annotated(source: Path, mesh: Path | None) -> LabelledSource:
    """Read what ``slime3d run`` wrote, or any label file ``slime3d eval`` reads, and its mesh.

    Parameters
    ----------
    source : Path
    mesh : Path, optional
        The labelled mesh; otherwise the one that the run remembers or that lies beside the labels.

    Raises
    ------
    InputError
        No labels, no mesh, or they do not belong together.
    """
    if not source.exists():
        raise InputError(f"no such file or folder: {source}; give a folder of slime3d run or a parts.safetensors")
    file = read_label_file(source)
    path = mesh or file.mesh or _remembered(source)
    if path is None:
        raise InputError(f"{source}: its mesh is not beside it; say where it is with --source-mesh MESH")
    loaded = load_mesh(path)
    file = vertex_to_face_labels(file, loaded.faces, len(loaded.vertices), str(source))
    if not (file.values > 0).any():
        raise InputError(f"{source}: no face is labelled with a part")
    values = np.where(file.values >= 0, file.values, -1)
    parts = make_parts(MaskFile(values.reshape(-1, 1), _colors(source)), file.names)
    return LabelledSource(loaded, parts.index(values), parts, path)


def _entry(path: Path) -> dict[str, Any]:
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return raw if isinstance(raw, dict) else {}


def _remembered(source: Path) -> Path | None:
    """The mesh of a run's folder: where its report says, else under its name in the folder, above it or here."""
    folder = source if source.is_dir() else source.parent
    entry = _entry(folder / "report.json").get("mesh")
    entry = entry if isinstance(entry, dict) else {}
    name = str(entry.get("file") or _entry(folder / "labels.json").get("mesh") or "")
    options = [folder / str(entry["path"])] if entry.get("path") else []
    options += [place / name for place in (folder, folder.parent, Path()) if name]
    return next((path for path in options if path.is_file()), None)


def _colors(source: Path) -> dict[int, tuple[int, int, int]]:
    """Colours of values, where a labels.json of ours says them."""
    raw = _entry(source / "labels.json" if source.is_dir() else source) if source.suffix != ".npy" else {}
    try:
        return {int(p["value"]): (int(p["color"][0]), int(p["color"][1]), int(p["color"][2])) for p in raw["parts"]}
    except (KeyError, TypeError, ValueError, IndexError):
        return {}


def mesh_files(given: Sequence[Path]) -> list[tuple[str, Path]]:
    """(name, file) of meshes; a folder stands for the meshes in it.

    Raises
    ------
    InputError
        Nothing there, or two meshes of one name, whose results would overwrite each other.
    """
    out: dict[str, Path] = {}
    for place in given:
        if place.is_dir():
            found = sorted(p for p in place.iterdir() if p.suffix.lower() in SUFFIXES)
            if not found:
                raise InputError(f"{place}: no mesh in this folder ({', '.join(sorted(SUFFIXES))})")
        elif place.is_file():
            found = [place]
        else:
            raise InputError(f"no such mesh: {place}")
        for path in found:
            if out.setdefault(path.stem, path) != path:
                raise InputError(f"{out[path.stem]} and {path} would both be written as {path.stem}; rename one")
    return list(out.items())
