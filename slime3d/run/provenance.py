"""What results were made of: a mesh counts as done only while all of it still holds."""

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

__all__ = ["NEW", "provenance", "referenced_files", "stale_reason"]

NEW = "not made before"
_ENDS = ("report.json", "cameras.json")  # the file a command writes last


def provenance(
    path: Path,
    settings: Any,
    references: Sequence[Reference] = (),
    names: Mapping[int, str] | None = None,
    cameras: Path | None = None,
) -> dict[str, str]:
    """Hashes of a mesh with the files it names, of masks and cameras, of settings and of this program.

    Missing files count as empty: what reads them says so.
    """
    views = "".join(f"{r.view}," for r in references)
    drawn = [*(r.path for r in references), *([cameras] if cameras else [])]
    chosen = settings if isinstance(settings, Mapping) else to_dict(settings)
    return {
        "mesh": _digest([path, *referenced_files(path)]),
        "masks": _digest(drawn, views),
        "settings": _digest([], json.dumps([chosen, sorted((names or {}).items())], sort_keys=True)),
        "program": code_hash("slimecore", "slime3d"),
    }


def stale_reason(out: Path, made: Mapping[str, str]) -> str:
    """Why the results in a folder do not do; empty if they do."""
    end = next((out / name for name in _ENDS if (out / name).is_file()), None)
    if end is None:
        return "not finished before" if out.is_dir() else NEW
    try:
        entry = json.loads(end.read_text(encoding="utf-8"))
        before, files = dict(entry["made_of"]), list(entry["files"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"{end.name} does not say what it was made of"
    changed = [key for key, value in made.items() if before.get(key) != value]
    if changed:
        return f"{', '.join(changed)} changed"
    missing = [file for file in files if not (out / file).is_file()]
    return f"{missing[0]} is missing" if missing else ""


def referenced_files(path: Path) -> list[Path]:
    """Files beside a mesh that it names: buffers and pictures of glTF, materials and textures of OBJ, those of PLY."""
    suffix = path.suffix.lower()
    try:
        if suffix == ".gltf":
            document = json.loads(path.read_text(encoding="utf-8"))
            named = [entry.get("uri", "") for key in ("buffers", "images") for entry in document.get(key, ())]
            return [path.parent / unquote(uri) for uri in named if uri and not uri.startswith("data:")]
        if suffix == ".obj":
            libraries = [path.parent / name for name in _lines(path, "mtllib")]
            maps = [_map(library.parent, text) for library in libraries for text in _lines(library, r"map_\w+")]
            return [*libraries, *maps]
        if suffix == ".ply":
            return [path.parent / name for name in _lines(path, r"comment\s+TextureFile", until="end_header")]
    except (OSError, ValueError, AttributeError, TypeError):
        pass  # loading it will say what is wrong
    return []


def _lines(path: Path, key: str, *, until: str = "") -> list[str]:
    """What follows `key` at the beginning of lines; of those before the line `until`, if there is one."""
    pattern = re.compile(rf"\s*{key}\s+(.+?)\s*$")
    found = []
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if until and line.startswith(until):
                break
            hit = pattern.match(line) if line.lstrip()[:1] in {"m", "c"} else None
            if hit:
                found.append(hit[1])
    return found


def _map(folder: Path, text: str) -> Path:
    """File that a map of a material names: after its options, and there may be blanks in it."""
    words = text.split(" ")
    ends = [folder / " ".join(words[i:]) for i in range(len(words))]
    return next((end for end in ends if end.is_file()), ends[-1])


def _digest(files: Iterable[Path], text: str = "") -> str:
    total = hashlib.sha256(text.encode())
    for file in files:
        total.update(f"\0{file.name}\0".encode())
        if file.is_file():
            with file.open("rb") as stream:
                while block := stream.read(1 << 20):
                    total.update(block)
    return total.hexdigest()
