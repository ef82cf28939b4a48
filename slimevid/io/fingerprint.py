"""Whether files are the ones they were, without reading all of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from slimecore.errors import InputError

__all__ = ["fingerprint"]


def fingerprint(files: Iterable[Path], *, block: int, blocks: int) -> str:
    """Hash of names, sizes and contents.

    Parameters
    ----------
    files : iterable of Path
    block, blocks : int
        A file of up to ``block * blocks`` bytes is read whole, of a larger one this many blocks of this many bytes,
        spread evenly, first and last included.

    Raises
    ------
    InputError
        A file is gone or cannot be read.
    """
    total = hashlib.sha256()
    for path in files:
        try:
            with path.open("rb") as file:
                size = path.stat().st_size
                total.update(f"{path.name}\0{size}\0".encode())
                if size <= block * blocks:
                    total.update(file.read())
                    continue
                for i in range(blocks):
                    file.seek((size - block) * i // (blocks - 1))
                    total.update(file.read(block))
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
    return total.hexdigest()
