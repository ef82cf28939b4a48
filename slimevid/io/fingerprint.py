"""Recognise unchanged files without reading all of their contents."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from slimecore.errors import InputError

__all__ = ["fingerprint"]


def fingerprint(files: Iterable[Path], *, block: int, blocks: int) -> str:
    """Return the SHA-256 of names, sizes and contents of files.

    Parameters
    ----------
    files : iterable of Path
    block, blocks : int
        Bytes of a block, and number of blocks. A file of up to ``block * blocks`` bytes is read in full. Of a larger
        file `blocks` evenly spaced blocks are read, the first and the last included.

    Returns
    -------
    str
        64 hexadecimal digits.

    Raises
    ------
    InputError
        A file is missing or cannot be read.
    """
    digest = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                digest.update(f"{path.name}\0{size}\0".encode())
                if size <= block * blocks:
                    digest.update(file.read())
                    continue
                for i in range(blocks):
                    file.seek((size - block) * i // (blocks - 1))
                    digest.update(file.read(block))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return digest.hexdigest()
