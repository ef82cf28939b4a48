"""Provenance of results: hashes of inputs, settings and code, compared by ``--resume`` (docs/adr/0019)."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from slime3d.labelling.annotated_views import Reference
from slimecore.config import to_dict
from slimecore.provenance.code_hash import code_hash
from slimecore.provenance.validity import stale_reason
from slimecore.user_files import read_json, require_regular

__all__ = ["NEW", "provenance", "referenced_files", "results_stale_reason"]

NEW = "not made before"
_FINAL_FILES = ("report.json", "cameras.json")  # written last by a command


def provenance(
    path: Path,
    settings: Any,
    references: Sequence[Reference] = (),
    names: Mapping[int, str] | None = None,
    cameras: Path | None = None,
) -> dict[str, str]:
    """Compute SHA-256 hashes of a mesh with its referenced files, masks and cameras, settings, and program.

    Missing files count as empty, as their readers report them.

    Parameters
    ----------
    path : Path
        Mesh file.
    settings : mapping or dataclass
    references : sequence of Reference
    names : mapping of int to str, optional
        Names of part values.
    cameras : Path, optional
        A ``cameras.json``.

    Returns
    -------
    dict
        Hashes by ``mesh``, ``masks``, ``settings`` and ``program``.
    """
    views = "".join(f"{r.view}," for r in references)
    mask_files = [*(r.path for r in references), *([cameras] if cameras else [])]
    settings_dict = settings if isinstance(settings, Mapping) else to_dict(settings)
    return {
        "mesh": _sha256([path, *referenced_files(path)]),
        "masks": _sha256(mask_files, views),
        "settings": _sha256([], json.dumps([settings_dict, sorted((names or {}).items())], sort_keys=True)),
        "program": code_hash("slimecore", "slime3d"),
    }


def results_stale_reason(out: Path, current: Mapping[str, str]) -> str:
    """Explain why the results in a folder are out of date. The text is empty if they are up to date."""
    final_file = next((out / name for name in _FINAL_FILES if (out / name).is_file()), None)
    if final_file is None:
        return "not finished before" if out.is_dir() else NEW
    try:
        entry = read_json(final_file)
        recorded, files = dict(entry["made_of"]), list(entry["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"{final_file.name} does not say what it was made of"
    reason = stale_reason(recorded, current)
    if reason:
        return reason
    missing = [file for file in files if not (out / file).is_file()]
    return f"{missing[0]} is missing" if missing else ""


def referenced_files(path: Path) -> list[Path]:
    """List the files a mesh refers to: buffers and images of glTF, materials and textures of OBJ, textures of PLY."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".gltf":
            document = read_json(path)
            named = [entry.get("uri", "") for key in ("buffers", "images") for entry in document.get(key, ())]
            return [path.parent / unquote(uri) for uri in named if uri and not uri.startswith("data:")]
        if suffix == ".obj":
            libraries = [path.parent / name for name in _values_after(path, "mtllib")]
            maps = [
                _texture_file(library.parent, text)
                for library in libraries
                for text in _values_after(library, r"map_\w+")
            ]
            return [*libraries, *maps]
        if suffix == ".ply":
            return [path.parent / name for name in _values_after(path, r"comment\s+TextureFile", until="end_header")]
    except (OSError, ValueError, AttributeError, TypeError):
        pass  # the loader reports the error
    return []


def _values_after(path: Path, key: str, *, until: str = "") -> list[str]:
    """Return the text after `key` in every line that begins with it, up to a line that begins with `until`."""
    pattern = re.compile(rf"\s*{key}\s+(.+?)\s*$")
    values = []
    with require_regular(path).open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if until and line.startswith(until):
                break
            match = pattern.match(line) if line.lstrip()[:1] in {"m", "c"} else None
            if match:
                values.append(match[1])
    return values


def _texture_file(folder: Path, text: str) -> Path:
    """Return the file of a material's texture map. It follows the options and may contain blanks."""
    words = text.split(" ")
    candidates = [folder / " ".join(words[i:]) for i in range(len(words))]
    return next((candidate for candidate in candidates if candidate.is_file()), candidates[-1])


def _sha256(files: Iterable[Path], text: str = "") -> str:
    """Hash a text and the names and contents of files."""
    total = hashlib.sha256(text.encode())
    for file in files:
        total.update(f"\0{file.name}\0".encode())
        if file.is_file():
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    total.update(block)
    return total.hexdigest()
