"""Read JSON, arrays and text of other people: regular files only, and every fault an OSError or a ValueError."""

from __future__ import annotations

import json
import stat
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from slimecore.array_types import Array

__all__ = ["read_array", "read_json", "read_user_text", "require_regular"]


def require_regular(path: Path) -> Path:
    """Return `path` unchanged if it is a regular file, not a folder, pipe or device that may never end.

    Raises
    ------
    OSError
        The file is missing.
    ValueError
        It is no regular file.
    """
    if not stat.S_ISREG(path.stat().st_mode):
        raise ValueError("not a regular file")
    return path


def read_user_text(path: Path) -> str:
    """Return the text of a regular UTF-8 file. Raises OSError or ValueError."""
    return require_regular(path).read_text(encoding="utf-8")


def read_json(path: Path) -> Any:
    """Return the value of a regular JSON file.

    Raises
    ------
    OSError
        The file is missing or cannot be read.
    ValueError
        It is no regular file, no UTF-8 text or no JSON, is nested too deep, or holds half a character (a surrogate).
    """
    try:
        value = json.loads(read_user_text(path))
        json.dumps(value, ensure_ascii=False).encode()
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def read_array(path: Path) -> Array:
    """Return the array of a regular ``.npy`` file, without pickles.

    Raises
    ------
    OSError
        The file is missing or cannot be read.
    ValueError
        It is no regular file, or does not hold a single plain array.
    """
    try:
        array = np.load(require_regular(path), allow_pickle=False)
    except (EOFError, zipfile.BadZipFile, MemoryError, SyntaxError, TypeError, OverflowError) as error:
        raise ValueError(str(error) or "truncated") from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise ValueError("several arrays (npz) instead of one (npy)")
    return array
