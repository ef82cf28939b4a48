"""Write files atomically: a reader finds the old file or the new file, never a partial file."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from slimecore.errors import OutputError

__all__ = ["atomic_path", "make_folder", "write_bytes", "write_json", "write_text"]


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path, renamed to `path` when the block succeeds and deleted when it fails.

    The temporary file lies in the folder of `path`, because a rename is atomic within a file system only.

    Yields
    ------
    Path
        Same suffix as `path`.

    Raises
    ------
    OutputError
        `path` cannot be written (no permission, no space).
    """
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
    try:
        with suppress(OSError):  # left by another process; a link would lead elsewhere
            temporary.unlink()
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise OutputError(
            f"cannot write {path}: {error.strerror or error}; free space or choose another --out"
        ) from error
    finally:
        with suppress(OSError):  # already renamed, or the folder is missing or a file
            temporary.unlink()


def make_folder(path: Path) -> Path:
    """Create the folder `path` with its parents and check that files can be written into it.

    Raises
    ------
    OutputError
        `path` is a file, or cannot be created or written.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        probe = path / f".write-test.{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise OutputError(f"cannot write into {path}: {error.strerror or error}; choose another --out") from error
    return path


def write_bytes(path: Path, data: bytes) -> None:
    """Write `data` to `path` atomically."""
    with atomic_path(path) as temporary:
        temporary.write_bytes(data)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` atomically as UTF-8."""
    write_bytes(path, text.encode())


def write_json(path: Path, value: Any) -> None:
    """Write `value` to `path` atomically as indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
