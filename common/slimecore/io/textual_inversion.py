"""Learned vectors in the file format that diffusers' ``load_textual_inversion`` reads.

One safetensors file a part with one tensor, named by its placeholder token. SLiMe's vectors live where the text encoder
ends, textual inversion's where it begins: the format carries them, but they are no substitute for one another.
"""

from __future__ import annotations

import re
from pathlib import Path

from safetensors.numpy import save

from slimecore.errors import OutputError
from slimecore.io.atomic_files import make_folder, write_bytes
from slimecore.types import PartEmbeddings

__all__ = ["export_tokens", "placeholder"]


def placeholder(name: str) -> str:
    """Placeholder token of a part: ``<left-ear>`` for ``left ear``; letters of any alphabet stay."""
    plain = re.sub(r"[\W_]+", "-", name).strip("-").lower()
    return f"<{plain or 'part'}>"


def export_tokens(embeddings: PartEmbeddings, folder: Path) -> list[Path]:
    """Write one file a part, the background included.

    Parameters
    ----------
    embeddings : PartEmbeddings
    folder : Path

    Returns
    -------
    list of Path
        ``left-ear.safetensors`` and so on, each with one tensor (tokens, dim) float32.

    Raises
    ------
    OutputError
        Two part names give the same token, or the folder cannot be written.
    """
    tokens = [placeholder(name) for name in embeddings.parts.names]
    twice = next((token for token in tokens if tokens.count(token) > 1), None)
    if twice is not None:
        raise OutputError(f"two parts would be called {twice}; give them names that differ in letters or digits")
    make_folder(folder)
    paths = []
    for token, vectors in zip(tokens, embeddings.vectors, strict=True):
        paths.append(folder / f"{token[1:-1]}.safetensors")
        write_bytes(paths[-1], save({token: vectors.copy()}))
    return paths
