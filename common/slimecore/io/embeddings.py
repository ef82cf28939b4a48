"""Part embeddings on disk: one safetensors file, never pickle.

Tensors: ``vectors`` (parts, tokens, dim) float32, ``layer_weights`` (layers,) float32 and, where tokens have some,
``columns`` (parts, tokens, C) float32; in faithful mode ``prompt`` (length, dim) and optionally
``delta.<projection>.down`` and ``.up``. Header metadata, one JSON object under ``slime``: schema version, part values,
names and colours, model, revision, settings.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from slimecore.errors import ArtifactError, SlimeError
from slimecore.io.atomic_files import write_bytes
from slimecore.types import PartEmbeddings, Parts

__all__ = ["SCHEMA", "load_embeddings", "require_model", "require_parts", "save_embeddings"]

SCHEMA = 2
_READABLE = (1, 2)  # 1: no prompt, no deltas
_DELTA = "delta."


def save_embeddings(path: Path, embeddings: PartEmbeddings) -> None:
    """Write `embeddings` atomically.

    Raises
    ------
    OutputError
        The place cannot be written.
    """
    parts = embeddings.parts
    header = {
        "schema": SCHEMA,
        "values": list(parts.values),
        "names": list(parts.names),
        "colors": [list(c) for c in parts.colors],
        "model": embeddings.model,
        "revision": embeddings.revision,
        "settings": dict(embeddings.settings),
    }
    tensors = {"vectors": embeddings.vectors.copy(), "layer_weights": embeddings.layer_weights.copy()}
    if embeddings.prompt is not None:
        tensors["prompt"] = embeddings.prompt.copy()
    tensors |= {_DELTA + name: value.copy() for name, value in embeddings.deltas.items()}
    if embeddings.columns is not None:
        tensors["columns"] = embeddings.columns.copy()
    write_bytes(path, save(tensors, metadata={"slime": json.dumps(header, sort_keys=True)}))


def load_embeddings(path: Path) -> PartEmbeddings:
    """Read part embeddings.

    Raises
    ------
    ArtifactError
        Missing, truncated, not part embeddings, or written by a newer version.
    """
    header, tensors = _read(path)
    if header.get("schema") not in _READABLE:
        raise ArtifactError(
            f"{path}: schema {header.get('schema')} is not one of {_READABLE}; learn the parts again, or update "
            "slime-toolkit"
        )
    try:
        parts = Parts(
            tuple(int(v) for v in header["values"]),
            tuple(str(n) for n in header["names"]),
            tuple((int(r), int(g), int(b)) for r, g, b in header["colors"]),
        )
        return PartEmbeddings(
            parts,
            tensors["vectors"],
            tensors["layer_weights"],
            str(header["model"]),
            str(header["revision"]),
            dict(header["settings"]),
            tensors.get("prompt"),
            {name.removeprefix(_DELTA): value for name, value in tensors.items() if name.startswith(_DELTA)},
            tensors.get("columns"),
        )
    except (KeyError, TypeError, ValueError, SlimeError) as error:
        raise ArtifactError(f"{path}: damaged part embeddings ({error}); learn the parts again") from error


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    if not path.is_file():
        raise ArtifactError(f"no such file: {path}")
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads((file.metadata() or {})["slime"])  # first: foreign tensors may be no NumPy type
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 # not a dict
        return dict(header), tensors
    except KeyError:
        raise ArtifactError(f"{path}: a safetensors file, but no part embeddings of slime-toolkit") from None
    except (SafetensorError, OSError, ValueError, TypeError) as error:
        raise ArtifactError(
            f"{path}: cannot be read as part embeddings ({error}); the file is truncated or no safetensors"
        ) from error


def require_parts(embeddings: PartEmbeddings, parts: Parts, source: str) -> None:
    """Refuse embeddings of other part values than an annotation has.

    Raises
    ------
    ArtifactError
        The values differ.
    """
    if embeddings.parts.values != parts.values:
        raise ArtifactError(
            f"{source}: it holds the part values {embeddings.parts.values[1:]}, the mask has {parts.values[1:]}; "
            "use the mask they were learned from, or learn the parts again"
        )


def require_model(embeddings: PartEmbeddings, name: str, revision: str, source: str) -> None:
    """Refuse embeddings that another model learned.

    Raises
    ------
    ArtifactError
        The revision (content fingerprint of the weights) differs; names may differ, a folder can move.
    """
    if embeddings.revision != revision:
        raise ArtifactError(
            f"{source}: learned with {embeddings.model} ({embeddings.revision}), not with {name} ({revision}); "
            f"use --model {embeddings.model}, or learn the parts again with this model"
        )
