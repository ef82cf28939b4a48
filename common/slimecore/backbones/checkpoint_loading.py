"""Load the modules of a checkpoint that the read-out needs. Weights are read from safetensors only."""

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
    """Layers of a UNet that are read, and the noise level of the pass.

    Parameters
    ----------
    cross, self_layers : tuple of str
        Module paths of the parents of transformer blocks, such as ``up_blocks.1.attentions.0``.
    descriptor : tuple of str
        Modules whose outputs form the descriptor for matching across images (hypercolumns, Hariharan et al., CVPR
        2015). Each output is L2-normalised, resized to the coarsest of their grids, and concatenated.
    timestep : int
        Diffusion timestep.
    noise : bool
        True adds noise of this timestep to the latents.
    """

    cross: tuple[str, ...]
    self_layers: tuple[str, ...]
    descriptor: tuple[str, ...]
    timestep: int
    noise: bool

    def at(self, timestep: int) -> Readout:
        """Return a copy with another timestep."""
        return replace(self, timestep=timestep)


# SLiMe, section 4: cross-attention of the 8th to 12th block, self-attention of the last three, t = 100. The descriptor
# is the block that DIFT (Tang et al., NeurIPS 2023) uses to propagate labels.
_SLIME_READOUT = Readout(
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


def _load_or_raise(folder: Path, part: str, load: Any) -> Any:
    """Call `load` and turn its errors into a ModelError that names the folder and the part."""
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


def _load_pretrained(kind: Any, folder: Path, part: str, variant: str | None, dtype: torch.dtype) -> Any:
    if not weights_of(folder, part, variant):
        of_variant = f" of variant {variant!r}" if variant else ""
        raise ModelError(
            f"{folder}: cannot load {part}, it has no safetensors weights{of_variant}; give a complete checkpoint"
        )
    with _errors_only("diffusers"):
        model, loading_info = _load_or_raise(
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
    _require_all_weights(folder, part, loading_info)
    return model


def _require_all_weights(folder: Path, part: str, loading_info: dict[str, Any]) -> None:
    """Refuse a checkpoint with missing weights, because the library would initialise them at random.

    The decoder of a VAE may be missing, because it is never used.
    """
    unused = ("decoder.", "post_quant_conv.") if part == "vae" else ()
    missing = sorted(str(name) for name in loading_info["missing_keys"] if not str(name).startswith(unused))
    missing += sorted(str(item[0]) for item in loading_info["mismatched_keys"])
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        raise ModelError(
            f"{folder}: {part} has no {missing[0]}{more}, or of another shape; give a complete checkpoint "
            "in the layout of diffusers"
        )


def load_unet(folder: Path, variant: str | None, dtype: torch.dtype) -> Any:
    """Load the UNet, frozen and in evaluation mode.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoint.
    variant : str or None
        Weight variant such as ``fp16``.
    dtype : torch.dtype

    Returns
    -------
    diffusers.UNet2DConditionModel

    Raises
    ------
    ModelError
        Weights are missing or damaged.
    """
    from diffusers import UNet2DConditionModel

    unet = _load_pretrained(UNet2DConditionModel, folder, "unet", variant, dtype)
    return unet.eval().requires_grad_(False)


def load_vae(folder: Path, variant: str | None, dtype: torch.dtype) -> Any:
    """Load the codec named by ``vae/config.json``, frozen and without decoder.

    Only known classes are accepted, because a file must not choose code to import.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoint.
    variant : str or None
        Weight variant such as ``fp16``.
    dtype : torch.dtype

    Returns
    -------
    AutoencoderKL, AutoencoderTiny or SpaceToDepthCodec

    Raises
    ------
    ModelError
        The class is unknown, or weights are missing or damaged.
    """
    import diffusers

    from slimecore.backbones.space_to_depth import SpaceToDepthCodec

    config = json_of(folder / "vae" / "config.json", folder)
    kind = config.get("_class_name")
    if kind == "SpaceToDepthCodec":
        return SpaceToDepthCodec.from_config(config).eval()
    if kind not in {"AutoencoderKL", "AutoencoderTiny"}:
        raise ModelError(f"{folder}: unknown codec {kind!r} in vae/config.json; known: AutoencoderKL, AutoencoderTiny")
    vae = _load_pretrained(getattr(diffusers, kind), folder, "vae", variant, dtype)
    vae.decoder = None  # never used, and half of the memory
    return vae.eval().requires_grad_(False)


def load_noising(folder: Path) -> NoiseSchedule:
    """Load the noise schedule of a checkpoint.

    Raises
    ------
    ModelError
        The schedule is missing, or the prediction type is neither ``epsilon`` nor ``v_prediction``.
    """
    from diffusers import DDIMScheduler

    config = json_of(folder / "scheduler" / "scheduler_config.json", folder)
    scheduler = _load_or_raise(folder, "scheduler", lambda: DDIMScheduler.from_config(config))
    prediction = str(config.get("prediction_type", "epsilon"))
    if prediction not in {"epsilon", "v_prediction"}:
        raise ModelError(f"{folder}: the scheduler predicts {prediction!r}, which is neither epsilon nor v_prediction")
    return NoiseSchedule(scheduler.alphas_cumprod, prediction)


def load_null_prompt(folder: Path, variant: str | None, dtype: torch.dtype) -> Tensor:
    """Load the embeddings of the neutral prompt, stored beside the weights or computed by the text encoder.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoint.
    variant : str or None
        Weight variant of the text encoder.
    dtype : torch.dtype

    Returns
    -------
    (1, L, dim) tensor of `dtype`

    Raises
    ------
    ModelError
        The file or the text encoder is missing or damaged.
    """
    stored = folder / "null_prompt.safetensors"
    if stored.is_file():
        from safetensors.torch import load_file

        tensors = _load_or_raise(folder, stored.name, lambda: load_file(stored))
        embeddings: Tensor = _load_or_raise(folder, stored.name, lambda: tensors["embeddings"])
        return embeddings.to(dtype)
    return load_prompt(folder, variant, "").to(dtype)


def load_prompt(folder: Path, variant: str | None, text: str) -> Tensor:
    """Compute the embeddings of a text by the checkpoint's own encoder.

    A folder with a stored neutral prompt and no text encoder returns this prompt for any text.

    Parameters
    ----------
    folder : Path
        Folder of the checkpoint.
    variant : str or None
        Weight variant of the text encoder.
    text : str
        Truncated to the encoder's L tokens.

    Returns
    -------
    (1, L, dim) float32 tensor

    Raises
    ------
    ModelError
        The text encoder is missing or damaged.
    """
    if not (folder / "text_encoder").is_dir() and (folder / "null_prompt.safetensors").is_file():
        return load_null_prompt(folder, variant, torch.float32)
    from transformers import CLIPTextModel, CLIPTokenizer

    def run() -> Tensor:
        tokenizer = CLIPTokenizer.from_pretrained(folder / "tokenizer", local_files_only=True)
        with _no_progress_bar(), _errors_only("transformers"):
            encoder, loading_info = CLIPTextModel.from_pretrained(
                folder / "text_encoder",
                variant=variant,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        _require_all_weights(folder, "text_encoder", loading_info)
        encoder.eval()
        length = tokenizer.model_max_length
        ids = tokenizer(text, padding="max_length", truncation=True, max_length=length, return_tensors="pt").input_ids
        with torch.no_grad():
            hidden: Tensor = encoder(ids)[0]
        return hidden.float()

    embeddings: Tensor = _load_or_raise(folder, "text_encoder", run)
    return embeddings


@contextmanager
def _errors_only(library: str) -> Iterator[None]:
    """Silence a library's warnings about missing weights, reported here as a single error instead."""
    logger = logging.getLogger(library)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


@contextmanager
def _no_progress_bar() -> Iterator[None]:
    """Switch off the progress bar of transformers, because commands own the standard error stream."""
    from transformers.utils import logging

    was_enabled = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if was_enabled:
            logging.enable_progress_bar()


def read_readout(folder: Path, unet: Any) -> Readout:
    """Read ``readout.json`` of a checkpoint, or derive the read-out from the UNet's up path.

    A UNet of Stable Diffusion 1.x or 2.x has SLiMe's published layers as default.

    Raises
    ------
    ModelError
        The file is invalid, names a layer that the UNet does not have, or the up path has no attention.
    """
    file = folder / "readout.json"
    if file.is_file():
        raw = json_of(file, folder)
        try:
            readout = Readout(
                tuple(raw["cross"]),
                tuple(raw["self"]),
                _names(raw["descriptor"]),
                int(raw["timestep"]),
                bool(raw["noise"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(f"{file}: {error!r} is missing or wrong; see docs/reference/conventions.md") from error
    else:
        readout = _default_readout(unet)
    for path in (*readout.cross, *readout.self_layers, *readout.descriptor):
        try:
            unet.get_submodule(path)
        except AttributeError:
            raise ModelError(f"{folder}: the UNet has no layer {path!r} named by its read-out") from None
    return readout


def _default_readout(unet: Any) -> Readout:
    """Choose SLiMe's layers, or for another UNet self-attention of the last level and cross-attention of the others."""
    counts = [len(getattr(block, "attentions", [])) for block in unet.up_blocks]
    if counts == [0, 3, 3, 3]:
        return _SLIME_READOUT
    with_attention = [i for i, n in enumerate(counts) if n]
    if not with_attention:
        raise ModelError("this UNet has no attention in its up path, so there is nothing to read out")
    *lower, last = with_attention
    paths = {i: tuple(f"up_blocks.{i}.attentions.{j}" for j in range(counts[i])) for i in with_attention}
    cross = tuple(p for i in (lower or [last]) for p in paths[i])
    return replace(
        _SLIME_READOUT, cross=cross, self_layers=paths[last], descriptor=(f"up_blocks.{(lower or [last])[-1]}",)
    )


def _names(value: str | list[str]) -> tuple[str, ...]:
    names = (value,) if isinstance(value, str) else tuple(map(str, value))
    if not names:
        raise ValueError("descriptor names no module")
    return names
