"""Files on disk that a mesh file names, opened only if they are regular files.

A mesh may name a device (``mtllib /dev/zero``) or a named pipe, whose reading would never end.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from slimecore.errors import InputError

__all__ = ["ResolverOfRegularFiles", "decode_text", "read_beside", "require_regular_file"]

_MAX_SIDE_FILE_BYTES = 2**31


def require_regular_file(path: Path) -> None:
    """Refuse a path that is missing or no regular file.

    Raises
    ------
    InputError
        Names the kind of the path.
    """
    try:
        mode = path.stat().st_mode
    except (OSError, ValueError) as error:
        raise InputError(f"no such mesh: {path}") from error
    if stat.S_ISDIR(mode):
        raise InputError(f"no such mesh: {path}, it is a folder")
    if not stat.S_ISREG(mode):
        raise InputError(f"{path}: not a regular file (a device, pipe or socket); copy its content to a file")


def read_beside(path: Path, name: str) -> bytes:
    """Read a file that the mesh file `path` names.

    The name may be percent-encoded, have backslashes, or differ in case from the file on disk.

    Raises
    ------
    OSError
        There is no such regular file, or it is larger than 2 GiB.
    """
    for candidate in dict.fromkeys((name, unquote(name), unquote(name).replace("\\", "/"))):
        found = _find(path.parent, candidate.strip().strip('"'))
        if found is None:
            continue
        status = found.stat()
        if not stat.S_ISREG(status.st_mode):
            raise OSError(f"{name} is not a regular file")
        if status.st_size > _MAX_SIDE_FILE_BYTES:
            raise OSError(f"{name} is larger than 2 GiB")
        return found.read_bytes()
    raise FileNotFoundError(f"no file {name}")


def _find(folder: Path, name: str) -> Path | None:
    """Return the path of a name, at first as it is written, then without regard to case."""
    try:
        if (folder / name).exists():
            return folder / name
        place = Path(name)
        at = Path(place.anchor) if place.is_absolute() else folder
        for part in place.parts[1:] if place.is_absolute() else place.parts:
            if (at / part).exists():
                at /= part
                continue
            same = [entry for entry in at.iterdir() if entry.name.lower() == part.lower()]
            if not same:
                return None
            at = min(same)
    except (OSError, ValueError):  # a name with a zero byte, or too long
        return None
    return at if name else None


def decode_text(data: bytes) -> str:
    r"""Decode a text file of any common encoding, with ``\n`` as its only line end."""
    if data[:2] in {b"\xff\xfe", b"\xfe\xff"}:
        text = data.decode("utf-16", errors="replace")
    else:
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError:
            text = data.decode("latin-1")
    return text.replace("\r\n", "\n").replace("\r", "\n")


class ResolverOfRegularFiles:
    """Files beside a mesh, for trimesh."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.file_name = path.name

    def get(self, name: Any) -> bytes:
        """Return the content of a file beside the mesh."""
        return read_beside(self._path, str(name))

    def __getitem__(self, name: Any) -> bytes:
        return self.get(name)

    def keys(self) -> list[str]:
        """Return no names: trimesh must not look for files that the mesh does not name."""
        return []
