"""Hashes of files, and of the code and weights that make a result."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import cache
from importlib import resources
from pathlib import Path

__all__ = ["code_hash", "digest"]


@cache
def code_hash(*packages: str) -> str:
    """Hash the code and the weights of packages: results of another version are not taken for this one's."""
    folders = [Path(str(resources.files(package))) for package in packages]
    kinds = ("*.py", "*.safetensors", "*.html")
    files = (file for folder in folders for kind in kinds for file in sorted(folder.rglob(kind)))
    return digest(file for file in files if "evaluation" not in file.parts)


def digest(files: Iterable[Path]) -> str:
    """Hash of names and contents."""
    total = hashlib.sha256()
    for file in files:
        total.update(f"{file.name}\0".encode())
        total.update(hashlib.sha256(file.read_bytes()).digest())
    return total.hexdigest()
