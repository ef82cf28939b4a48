"""Find checkpoints, folders in Stable Diffusion format, and tell which files of them count.

One road for everything: the embedded ``slime-tiny`` is a folder of the package, a Hub id becomes a folder of the local
cache, and folders are folders.
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
_STEM = "diffusion_pytorch_model"


def locate(name: str, revision: str | None = None, variant: str | None = None) -> Path:
    """Folder of a model: embedded name, path, or Hub id (local cache first, then the network).

    Raises
    ------
    ModelError
        Nothing of that name, or the Hub cannot be reached.
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
        known = ", ".join(sorted(p.name for p in EMBEDDED.iterdir() if (p / "unet").is_dir()))
        raise ModelError(f"no model {name!r}: no such folder, no Hub id (owner/name), and not embedded ({known})")
    return _from_hub(name, revision, variant)


def _from_hub(name: str, revision: str | None, variant: str | None) -> Path:
    import huggingface_hub
    from huggingface_hub import errors

    middle = f".{variant}" if variant else ""
    weights = [
        f"{part}/{stem}{middle}{end}"
        for part, stem in (
            ("unet", _STEM),
            ("vae", _STEM),
            ("text_encoder", "model"),
        )
        for end in (".safetensors", "-*.safetensors", ".safetensors.index.json")
    ]
    wanted = ["*.json", "null_prompt.safetensors", "*/config.json", "scheduler/*", "tokenizer/*", *weights]
    for offline in (True, False):
        try:
            found = huggingface_hub.snapshot_download(
                name, revision=revision, allow_patterns=wanted, local_files_only=offline, etag_timeout=10
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
        folder = Path(found)
        if _complete(folder, variant):
            return folder
        reason = FileNotFoundError("the cached copy is incomplete")
    raise ModelError(
        f"model {name!r} is no folder and not in the local Hub cache, and the Hub cannot be reached "
        f"({type(reason).__name__}); connect once, pass the folder of a copy, or use --model slime-tiny"
    )


def _complete(folder: Path, variant: str | None) -> bool:
    """Whether a cached copy holds all of this variant: a download of another, or one cut off, leaves half a model."""
    needed = [folder / "unet" / "config.json", folder / "vae" / "config.json", folder / "scheduler"]
    weighty = ["unet"]
    if not (folder / "null_prompt.safetensors").is_file():
        needed.append(folder / "tokenizer")
        weighty.append("text_encoder")
    if not all(path.exists() for path in needed):
        return False
    if json_of(folder / "vae" / "config.json", folder).get("_class_name") != "SpaceToDepthCodec":
        weighty.append("vae")
    return all(_whole(folder, part, variant) for part in weighty)


def _whole(folder: Path, part: str, variant: str | None) -> bool:
    """Whether a part's weights are there, every shard that is one of so many."""
    found = weights_of(folder, part, variant)
    announced = [re.search(r"-of-(\d+)\.safetensors$", file.name) for file in found]
    return bool(found) and all(match is None or int(match[1]) == len(found) for match in announced)


def weights_of(folder: Path, part: str, variant: str | None) -> list[Path]:
    """Files of a part's weights, of one variant, as diffusers and transformers name them."""
    middle, stem = f".{variant}" if variant else "", "model" if part == "text_encoder" else _STEM
    return sorted(
        file
        for file in folder.glob(f"{part}/*.safetensors")
        if re.fullmatch(rf"{stem}{re.escape(middle)}(-\d+-of-\d+)?\.safetensors", file.name)
    )


def fingerprint(folder: Path, variant: str | None = None) -> str:
    """Identity of a checkpoint's weights: 16 hex digits over sizes and sampled bytes of the UNet and its settings.

    Small files are hashed whole; of larger ones the two ends and 64 evenly spaced blocks, so that gigabytes take
    milliseconds.
    """
    digest = hashlib.sha256()
    files = [*weights_of(folder, "unet", variant), folder / "unet" / "config.json", folder / "readout.json"]
    block = 1 << 16
    for file in files:
        if not file.is_file():
            continue
        size = file.stat().st_size
        digest.update(f"{file.name}:{size};".encode())
        with file.open("rb") as stream:
            if size <= 66 * block:
                digest.update(stream.read())
                continue
            for i in range(66):
                stream.seek((size - block) * i // 65)
                digest.update(stream.read(block))
    return digest.hexdigest()[:16]


def json_of(path: Path, folder: Path) -> dict[str, Any]:
    """The object that a JSON file of a checkpoint's folder holds.

    Raises
    ------
    ModelError
        Missing, or none.
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
