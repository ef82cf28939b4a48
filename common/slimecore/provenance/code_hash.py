"""Hash files, and the code and weights that produce a result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path

__all__ = ["code_hash", "digest"]


@cache
def code_hash(*packages: str) -> str:
    """Return the SHA-256 of the code and the weights of packages, so that results of other versions are recognised.

    Evaluation packages are left out, because they change no result.
    """
    folders = [Path(str(resources.files(package))) for package in packages]
    patterns = ("*.py", "*.safetensors", "*.html")
    files = (file for folder in folders for pattern in patterns for file in sorted(folder.rglob(pattern)))
    return digest(file for file in files if "evaluation" not in file.parts)


def digest(files: Iterable[Path]) -> str:
    """Return the SHA-256 of the names and contents of files, in the given order."""
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name}\0".encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
