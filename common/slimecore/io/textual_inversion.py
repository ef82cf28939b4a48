"""Write learned vectors in the file format of diffusers' ``load_textual_inversion``.

Each part gets a safetensors file with a single tensor, named by its placeholder token. SLiMe's vectors are outputs of
the text encoder. Vectors of textual inversion (Gal et al., ICLR 2023) are its inputs. The format holds both, but
neither can replace the other.
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
    """Return the placeholder token of a part, ``<left-ear>`` for ``left ear``. Letters of any alphabet are kept."""
    slug = re.sub(r"[\W_]+", "-", name).strip("-").lower()
    return f"<{slug or 'part'}>"


def export_tokens(embeddings: PartEmbeddings, folder: Path | str) -> list[Path]:
    """Write a file for every part, the background included.

    Parameters
    ----------
    embeddings : PartEmbeddings
    folder : Path or str

    Returns
    -------
    list of Path
        ``left-ear.safetensors`` and so on, each with a (tokens, dim) float32 tensor.

    Raises
    ------
    OutputError
        Two part names give the same token, or the folder cannot be written.
    """
    folder = Path(folder)
    tokens = [placeholder(name) for name in embeddings.parts.names]
    duplicate = next((token for token in tokens if tokens.count(token) > 1), None)
    if duplicate is not None:
        raise OutputError(f"two parts would be called {duplicate}; give them names that differ in letters or digits")
    make_folder(folder)
    paths = []
    for token, vectors in zip(tokens, embeddings.vectors, strict=True):
        paths.append(folder / f"{token[1:-1]}.safetensors")
        write_bytes(paths[-1], save({token: vectors.copy()}))
    return paths
