"""Read and write part embeddings as a single safetensors file, never pickle (docs/adr/0004).

Tensors, all float32: ``vectors`` (P, tokens, dim), ``layer_weights`` (layers,) and optionally ``columns``
(P, tokens, C). Faithful mode adds ``prompt`` (length, dim) and optionally ``delta.<projection>.down`` and ``.up``.
The header metadata holds a JSON object under ``slime``: schema version, part values, names and colours, model,
revision, settings.
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
_READABLE_SCHEMAS = (1, 2)  # 1: no prompt, no deltas
_DELTA_PREFIX = "delta."
_LARGEST_VALUE = 65534  # of masks in 16-bit PNG
_LARGEST_SETTING = 1e6
_NUMERIC_SETTINGS = (
    *("model.timestep", "short_side", "square"),
    *("descriptor", "descriptor_scale", "position", "position_scale"),
)


def save_embeddings(path: Path | str, embeddings: PartEmbeddings) -> None:
    """Write part embeddings to `path` atomically.

    Raises
    ------
    OutputError
        `path` cannot be written.
    """
    path = Path(path)
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
    tensors |= {_DELTA_PREFIX + name: value.copy() for name, value in embeddings.deltas.items()}
    if embeddings.columns is not None:
        tensors["columns"] = embeddings.columns.copy()
    write_bytes(path, save(tensors, metadata={"slime": json.dumps(header, sort_keys=True)}))


def load_embeddings(path: Path | str) -> PartEmbeddings:
    """Read part embeddings from `path`.

    Raises
    ------
    ArtifactError
        The file is missing, truncated, holds no part embeddings, or was written by a newer version.
    """
    path = Path(path)
    header, tensors = _read_tensors(path)
    if header.get("schema") not in _READABLE_SCHEMAS:
        raise ArtifactError(
            f"{path}: schema {header.get('schema')} is not one of {_READABLE_SCHEMAS}; learn the parts again, or "
            "update slime-toolkit"
        )
    try:
        parts = Parts(
            tuple(int(v) for v in header["values"]),
            tuple(str(n) for n in header["names"]),
            tuple((int(r), int(g), int(b)) for r, g, b in header["colors"]),
        )
        if parts.values[-1] > _LARGEST_VALUE:
            raise ValueError(f"part value {parts.values[-1]}, a mask holds 1 to {_LARGEST_VALUE}")
        _require_numbers(header["settings"])
        return PartEmbeddings(
            parts,
            tensors["vectors"],
            tensors["layer_weights"],
            str(header["model"]),
            str(header["revision"]),
            dict(header["settings"]),
            tensors.get("prompt"),
            {
                name.removeprefix(_DELTA_PREFIX): value
                for name, value in tensors.items()
                if name.startswith(_DELTA_PREFIX)
            },
            tensors.get("columns"),
        )
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, SlimeError) as error:
        raise ArtifactError(f"{path}: damaged part embeddings ({error}); learn the parts again") from error


def _read_tensors(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the JSON header and the tensors by name."""
    if not path.is_file():
        raise ArtifactError(f"no such file: {path}")
    try:
        with safe_open(path, framework="np") as file:
            header = json.loads(
                (file.metadata() or {})["slime"]
            )  # before the tensors: foreign files may hold dtypes that NumPy lacks
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 # not a dict
        return dict(header), tensors
    except KeyError:
        raise ArtifactError(f"{path}: a safetensors file, but no part embeddings of slime-toolkit") from None
    except (SafetensorError, OSError, ValueError, TypeError, RecursionError) as error:
        raise ArtifactError(
            f"{path}: cannot be read as part embeddings ({error}); the file is truncated or no safetensors"
        ) from error


def _require_numbers(settings: dict[str, Any]) -> None:
    """Raise ValueError unless the settings that are used as numbers are numbers of a sensible size."""
    for key in _NUMERIC_SETTINGS:
        value = settings.get(key)
        if value is not None and not (isinstance(value, int | float) and abs(value) <= _LARGEST_SETTING):
            raise ValueError(f"setting {key} is {str(value)[:40]!r}, not a number")


def require_parts(embeddings: PartEmbeddings, parts: Parts, source: str) -> None:
    """Raise unless the embeddings have the part values of an annotation.

    Parameters
    ----------
    embeddings : PartEmbeddings
    parts : Parts
        Parts of the annotation.
    source : str
        Name of the embeddings in messages.

    Raises
    ------
    ArtifactError
        The part values differ.
    """
    if embeddings.parts.values != parts.values:
        raise ArtifactError(
            f"{source}: it holds the part values {embeddings.parts.values[1:]}, the mask has {parts.values[1:]}; "
            "use the mask they were learned from, or learn the parts again"
        )


def require_model(embeddings: PartEmbeddings, name: str, revision: str, source: str) -> None:
    """Raise unless the embeddings were learned with the model in use.

    Parameters
    ----------
    embeddings : PartEmbeddings
    name : str
        Name of the model in use. It may differ from the embeddings' model name, because a model folder can move.
    revision : str
        Content fingerprint of the weights of the model in use.
    source : str
        Name of the embeddings in messages.

    Raises
    ------
    ArtifactError
        The revision differs.
    """
    if embeddings.revision != revision:
        raise ArtifactError(
            f"{source}: learned with {embeddings.model} ({embeddings.revision}), not with {name} ({revision}); "
            f"use --model {embeddings.model}, or learn the parts again with this model"
        )
