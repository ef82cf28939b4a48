"""Find checkpoints in Stable Diffusion format and their weight files.

Every model name resolves to a folder: of the package (the embedded ``slime-tiny``), of the local Hub cache, or given by
its path.
"""

from __future__ import annotations

import hashlib
import json
import re
from importlib import resources
from pathlib import Path
from typing import Any

from slimecore.errors import ModelError

__all__ = ["EMBEDDED", "fingerprint", "json_of", "locate", "weights_of"]

EMBEDDED = Path(str(resources.files("slimecore"))) / "models"
_DIFFUSERS_WEIGHTS_STEM = "diffusion_pytorch_model"
_HASH_BLOCK_BYTES = 1 << 16
_HASH_BLOCKS = 66


def locate(name: str, revision: str | None = None, variant: str | None = None) -> Path:
    """Locate the folder of a model.

    Parameters
    ----------
    name : str
        Embedded name, path, or Hub id. A Hub id is looked up in the local cache first, then on the network.
    revision : str, optional
        Hub revision.
    variant : str, optional
        Weight variant such as ``fp16``.

    Returns
    -------
    Path

    Raises
    ------
    ModelError
        The name matches nothing, or the Hub cannot be reached.
    """
    embedded = EMBEDDED / name
    plain = "/" not in name and not name.startswith(".") and bool(name)
    folder = embedded if plain and embedded.is_dir() else Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "unet" / "config.json").is_file():
            raise ModelError(
                f"{name}: not a Stable Diffusion folder, unet/config.json is missing; give the folder above unet/"
            )
        return folder
    if name.count("/") != 1 or name.startswith((".", "/", "~")) or folder.exists():
        names = ", ".join(sorted(p.name for p in EMBEDDED.iterdir() if (p / "unet").is_dir()))
        raise ModelError(f"no model {name!r}: no such folder, no Hub id (owner/name), and not embedded ({names})")
    return _from_hub(name, revision, variant)


def _from_hub(name: str, revision: str | None, variant: str | None) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    infix = f".{variant}" if variant else ""
    weights = [
        f"{part}/{stem}{infix}{end}"
        for part, stem in (
            ("unet", _DIFFUSERS_WEIGHTS_STEM),
            ("vae", _DIFFUSERS_WEIGHTS_STEM),
            ("text_encoder", "model"),
        )
        for end in (".safetensors", "-*.safetensors", ".safetensors.index.json")
    ]
    patterns = ["*.json", "null_prompt.safetensors", "*/config.json", "scheduler/*", "tokenizer/*", *weights]
    for offline in (True, False):
        try:
            path = huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=patterns, local_files_only=offline, etag_timeout=10
            )
        except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError) as error:
            raise ModelError(
                f"the Hub has no model {name!r} at revision {revision or 'main'}, or it is private"
            ) from error
        except (
            errors.LocalEntryNotFoundError,
            errors.HfHubHTTPError,
            OSError,
            ValueError,
            RuntimeError,
        ) as error:
            reason = error
            continue
        folder = Path(path)
        if _is_complete(folder, variant):
            return folder
        reason = FileNotFoundError("the cached copy is incomplete")
    raise ModelError(
        f"model {name!r} is no folder and not in the local Hub cache, and the Hub cannot be reached "
        f"({type(reason).__name__}); connect once, pass the folder of a copy, or use --model slime-tiny"
    )


def _is_complete(folder: Path, variant: str | None) -> bool:
    """Check a cached copy for all files of a variant: interrupted downloads and other variants leave gaps."""
    required = [folder / "unet" / "config.json", folder / "vae" / "config.json", folder / "scheduler"]
    parts_with_weights = ["unet"]
    if not (folder / "null_prompt.safetensors").is_file():
        required.append(folder / "tokenizer")
        parts_with_weights.append("text_encoder")
    if not all(path.exists() for path in required):
        return False
    if json_of(folder / "vae" / "config.json", folder).get("_class_name") != "SpaceToDepthCodec":
        parts_with_weights.append("vae")
    return all(_has_all_shards(folder, part, variant) for part in parts_with_weights)


def _has_all_shards(folder: Path, part: str, variant: str | None) -> bool:
    """Check that the weights of a part exist, with as many shards as their names announce."""
    shards = weights_of(folder, part, variant)
    counts = [re.search(r"-of-(\d+)\.safetensors$", file.name) for file in shards]
    return bool(shards) and all(match is None or int(match[1]) == len(shards) for match in counts)


def weights_of(folder: Path, part: str, variant: str | None) -> list[Path]:
    """List the weight files of a part of a model, by the naming rules of diffusers and transformers.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoint.
    part : str
        ``unet``, ``vae`` or ``text_encoder``.
    variant : str or None
        Weight variant such as ``fp16``.

    Returns
    -------
    list of Path
        Sorted, empty if the part has no weights of this variant.
    """
    infix, stem = f".{variant}" if variant else "", "model" if part == "text_encoder" else _DIFFUSERS_WEIGHTS_STEM
    return sorted(
        file
        for file in folder.glob(f"{part}/*.safetensors")
        if re.fullmatch(rf"{stem}{re.escape(infix)}(-\d+-of-\d+)?\.safetensors", file.name)
    )


def fingerprint(folder: Path, variant: str | None = None) -> str:
    """Hash the UNet's weights and settings to 16 hex digits that identify a checkpoint.

    Small files are hashed completely. Of larger files the size and 66 evenly spaced blocks are hashed, the first and
    the last included, so that gigabytes take milliseconds.
    """
    digest = hashlib.sha256()
    files = [*weights_of(folder, "unet", variant), folder / "unet" / "config.json", folder / "readout.json"]
    block = _HASH_BLOCK_BYTES
    for file in files:
        if not file.is_file():
            continue
        size = file.stat().st_size
        digest.update(f"{file.name}:{size};".encode())
        with file.open("rb") as stream:
            if size <= _HASH_BLOCKS * block:
                digest.update(stream.read())
                continue
            for i in range(_HASH_BLOCKS):
                stream.seek((size - block) * i // (_HASH_BLOCKS - 1))
                digest.update(stream.read(block))
    return digest.hexdigest()[:16]


def json_of(path: Path, folder: Path) -> dict[str, Any]:
    """Read a JSON object from a file of a checkpoint's folder.

    Raises
    ------
    ModelError
        The file is missing, not valid JSON, or holds no object.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ModelError(
            f"{folder}: {path.relative_to(folder)} is missing; give a complete Stable Diffusion folder"
        ) from error
    except ValueError as error:
        raise ModelError(f"{path} is not valid JSON: {error}") from error
    if not isinstance(content, dict):
        raise ModelError(f"{path} must hold a JSON object")
    return content
