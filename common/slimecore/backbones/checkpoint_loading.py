"""Load what the read-out needs of a checkpoint's folder. Weights are read from safetensors only."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from slimecore.backbones.checkpoint_files import json_of, weights_of
from slimecore.backbones.noise_schedule import NoiseSchedule
from slimecore.errors import ModelError

__all__ = [
    "Readout",
    "load_noising",
    "load_null_prompt",
    "load_prompt",
    "load_unet",
    "load_vae",
    "read_readout",
]


@dataclass(frozen=True, slots=True)
class Readout:
    """Which layers of a UNet are read, and at which noise level.

    Parameters
    ----------
    cross, self_layers : tuple of str
        Module paths of transformer blocks' parents, such as ``up_blocks.1.attentions.0``.
    descriptor : tuple of str
        Modules whose outputs, each of unit length, on the coarsest of their grids and side by side, are the descriptor
        for matching across pictures (hypercolumns, Hariharan et al., CVPR 2015).
    timestep : int
        Diffusion timestep.
    noise : bool
        Whether noise of that timestep is added to the latents.
    """

    cross: tuple[str, ...]
    self_layers: tuple[str, ...]
    descriptor: tuple[str, ...]
    timestep: int
    noise: bool

    def at(self, timestep: int) -> Readout:
        """The same layers at another timestep."""
        return replace(self, timestep=timestep)


# SLiMe, section 4: cross-attention of the 8th to 12th block, self-attention of the last three, t = 100. Descriptor:
# the block whose output DIFT (Tang et al. 2023) propagates labels with.
_PUBLISHED = Readout(
    cross=(
        "up_blocks.1.attentions.0",
        "up_blocks.1.attentions.1",
        "up_blocks.1.attentions.2",
        "up_blocks.2.attentions.0",
        "up_blocks.2.attentions.1",
    ),
    self_layers=("up_blocks.3.attentions.0", "up_blocks.3.attentions.1", "up_blocks.3.attentions.2"),
    descriptor=("up_blocks.2",),
    timestep=100,
    noise=True,
)


def _readable(folder: Path, part: str, load: Any) -> Any:
    try:
        return load()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError, ImportError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ModelError(
            f"{folder}: cannot load {part} ({reason}); the folder must be a complete safetensors checkpoint"
        ) from error
    except Exception as error:
        if type(error).__module__.startswith("safetensors"):
            raise ModelError(f"{folder}: {part} is damaged ({error}); download it again") from error
        raise


def _pretrained(kind: Any, folder: Path, part: str, variant: str | None, dtype: torch.dtype) -> Any:
    if not weights_of(folder, part, variant):
        asked = f" of variant {variant!r}" if variant else ""
        raise ModelError(
            f"{folder}: cannot load {part}, it has no safetensors weights{asked}; give a complete checkpoint"
        )
    with _quiet("diffusers"):
        model, told = _readable(
            folder,
            part,
            lambda: kind.from_pretrained(
                folder,
                subfolder=part,
                variant=variant,
                torch_dtype=dtype,
                use_safetensors=True,
                local_files_only=True,
                low_cpu_mem_usage=False,
                output_loading_info=True,
            ),
        )
    _require_all(folder, part, told)
    return model


def _require_all(folder: Path, part: str, told: dict[str, Any]) -> None:
    """Refuse weights that lack some the model has: it would go on with random ones. What it never asks may lack."""
    unused = ("decoder.", "post_quant_conv.") if part == "vae" else ()
    lacking = sorted(str(name) for name in told["missing_keys"] if not str(name).startswith(unused))
    lacking += sorted(str(item[0]) for item in told["mismatched_keys"])
    if lacking:
        more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
        raise ModelError(
            f"{folder}: {part} has no {lacking[0]}{more}, or of another shape; give a complete checkpoint "
            "in the layout of diffusers"
        )


def load_unet(folder: Path, variant: str | None, dtype: torch.dtype) -> Any:
    """The UNet, frozen, in evaluation mode."""
    from diffusers import UNet2DConditionModel

    unet = _pretrained(UNet2DConditionModel, folder, "unet", variant, dtype)
    return unet.eval().requires_grad_(False)


def load_vae(folder: Path, variant: str | None, dtype: torch.dtype) -> Any:
    """The codec named by ``vae/config.json``, frozen; only known classes, nothing is imported on a file's word."""
    import diffusers

    from slimecore.backbones.space_to_depth import SpaceToDepthCodec

    config = json_of(folder / "vae" / "config.json", folder)
    kind = config.get("_class_name")
    if kind == "SpaceToDepthCodec":
        return SpaceToDepthCodec.from_config(config).eval()
    if kind not in {"AutoencoderKL", "AutoencoderTiny"}:
        raise ModelError(f"{folder}: unknown codec {kind!r} in vae/config.json; known: AutoencoderKL, AutoencoderTiny")
    vae = _pretrained(getattr(diffusers, kind), folder, "vae", variant, dtype)
    vae.decoder = None  # half of the memory, never used here
    return vae.eval().requires_grad_(False)


def load_noising(folder: Path) -> NoiseSchedule:
    """Noise schedule of a checkpoint.

    Raises
    ------
    ModelError
        Missing, or the UNet predicts something SLiMe cannot use.
    """
    from diffusers import DDIMScheduler

    config = json_of(folder / "scheduler" / "scheduler_config.json", folder)
    scheduler = _readable(folder, "scheduler", lambda: DDIMScheduler.from_config(config))
    prediction = str(config.get("prediction_type", "epsilon"))
    if prediction not in {"epsilon", "v_prediction"}:
        raise ModelError(f"{folder}: the scheduler predicts {prediction!r}, which is neither epsilon nor v_prediction")
    return NoiseSchedule(scheduler.alphas_cumprod, prediction)


def load_null_prompt(folder: Path, variant: str | None, dtype: torch.dtype) -> Tensor:
    """(1, L, dim) embeddings of the neutral prompt: stored beside the weights, or made by the text encoder."""
    stored = folder / "null_prompt.safetensors"
    if stored.is_file():
        from safetensors.torch import load_file

        tensors = _readable(folder, stored.name, lambda: load_file(stored))
        embeddings: Tensor = _readable(folder, stored.name, lambda: tensors["embeddings"])
        return embeddings.to(dtype)
    return load_prompt(folder, variant, "").to(dtype)


def load_prompt(folder: Path, variant: str | None, text: str) -> Tensor:
    """(1, L, dim) float32 embeddings of a text by the checkpoint's own encoder.

    A folder with a stored neutral prompt and no text encoder gives that prompt for any text: it knows no words.
    """
    if not (folder / "text_encoder").is_dir() and (folder / "null_prompt.safetensors").is_file():
        return load_null_prompt(folder, variant, torch.float32)
    from transformers import CLIPTextModel, CLIPTokenizer

    def run() -> Tensor:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        with _no_progress_bar(), _quiet("transformers"):
            encoder, told = CLIPTextModel.from_pretrained(
                folder / "text_encoder",
                variant=variant,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        _require_all(folder, "text_encoder", told)
        encoder.eval()
        length = tokenizer.model_max_length
        ids = tokenizer(text, padding="max_length", truncation=True, max_length=length, return_tensors="pt").input_ids
        with torch.no_grad():
            hidden: Tensor = encoder(ids)[0]
        return hidden.float()

    made: Tensor = _readable(folder, "text_encoder", run)
    return made


@contextmanager
def _quiet(library: str) -> Iterator[None]:
    """Keep a library from listing what weights lack: that is said in one line."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Keep transformers from drawing into the one line a command may print on standard error."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def read_readout(folder: Path, unet: Any) -> Readout:
    """The checkpoint's own ``readout.json``; else SLiMe's layers; else the up path of whatever UNet this is."""
    own = folder / "readout.json"
    if own.is_file():
        raw = json_of(own, folder)
        try:
            readout = Readout(
                tuple(raw["cross"]),
                tuple(raw["self"]),
                _names(raw["descriptor"]),
                int(raw["timestep"]),
                bool(raw["noise"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{own}: {error!r} is missing or wrong; see docs/conventions.md") from error
    else:
        readout = _derived(unet)
    for path in (*readout.cross, *readout.self_layers, *readout.descriptor):
        try:
            unet.get_submodule(path)
        except AttributeError:
            raise ModelError(f"{folder}: the UNet has no layer {path!r} named by its read-out") from None
    return readout


def _derived(unet: Any) -> Readout:
    counts = [len(getattr(block, "attentions", [])) for block in unet.up_blocks]
    if counts == [0, 3, 3, 3]:
        return _PUBLISHED
    with_attention = [i for i, n in enumerate(counts) if n]
    if not with_attention:
        raise ModelError("this UNet has no attention in its up path, so there is nothing to read out")
    *lower, last = with_attention
    paths = {i: tuple(f"up_blocks.{i}.attentions.{j}" for j in range(counts[i])) for i in with_attention}
    cross = tuple(p for i in (lower or [last]) for p in paths[i])
    return replace(_PUBLISHED, cross=cross, self_layers=paths[last], descriptor=(f"up_blocks.{(lower or [last])[-1]}",))


def _names(value: str | list[str]) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(map(str, value))
    if not names:
        raise ValueError("descriptor names no module")
    return names
