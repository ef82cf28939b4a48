"""Descriptors of pictures for evaluation: from an exported folder, from random weights, from colour."""

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from diffusers import UNet2DConditionModel
from safetensors.torch import load_file
from torch import Tensor

from slimecore.errors import ModelError
from training.network import Reader, Readout, build_unet, joint, to_latents
from training.pairs import CELL

__all__ = ["Encoder", "descriptor_encoder", "lab_patches", "load_model", "random_model", "read"]

Encoder = Callable[[np.ndarray], Tensor]
"""(h, w, 3) uint8 with sides that are multiples of 16 -> (h / stride, w / stride, c) unit vectors."""


def load_model(folder: Path, descriptor: list[str] | None = None) -> tuple[UNet2DConditionModel, Reader, Tensor]:
    """UNet (float32), its reader and the neutral prompt of an exported folder; `descriptor` names other modules.

    Raises
    ------
    ModelError
        Not such a folder, or the UNet lacks a module.
    """
    for name in ("unet/config.json", "readout.json", "null_prompt.safetensors"):
        if not (folder / name).is_file():
            raise ModelError(f"{folder}: no {name}; name a folder that training.export wrote")
    unet = UNet2DConditionModel.from_pretrained(folder / "unet", torch_dtype=torch.float32).eval()
    spec = json.loads((folder / "readout.json").read_text())
    own = spec["descriptor"]
    spec["descriptor"] = descriptor or ([own] if isinstance(own, str) else own)
    unknown = set(spec["descriptor"]) - {name for name, _ in unet.named_modules()}
    if unknown:
        raise ModelError(f"{folder}: the UNet has no module {min(unknown)!r}")
    prompt = load_file(folder / "null_prompt.safetensors")["embeddings"].float()
    return unet, Reader(unet, spec), prompt


def random_model(seed: int = 0) -> tuple[UNet2DConditionModel, Reader, Tensor]:
    """Build the same network, untrained."""
    torch.manual_seed(seed)
    unet = build_unet().eval()
    return unet, Reader(unet), torch.zeros(1, 8, unet.config.cross_attention_dim)


@torch.no_grad()
def read(model: tuple[UNet2DConditionModel, Reader, Tensor], rgb: np.ndarray) -> Readout:
    """Encode one (h, w, 3) or several (b, h, w, 3) uint8 pictures."""
    return model[1](_latents(rgb), model[2])


def _latents(rgb: np.ndarray) -> Tensor:
    batch = torch.from_numpy(rgb if rgb.ndim == 4 else rgb[None]).permute(0, 3, 1, 2).float() / 255
    return to_latents(batch)


def descriptor_encoder(model: tuple[UNet2DConditionModel, Reader, Tensor]) -> Encoder:
    """Cosine-normalised descriptors of a model."""
    _, reader, prompt = model

    @torch.no_grad()
    def encode(rgb: np.ndarray) -> Tensor:
        found = joint(reader.describe(_latents(rgb), prompt))[0]
        cell = round((rgb.shape[0] * rgb.shape[1] / len(found)) ** 0.5)
        grid = (rgb.shape[0] // cell, rgb.shape[1] // cell)
        return found.unflatten(0, grid)

    return encode


def lab_patches(rgb: np.ndarray, scale: float = 60.0) -> Tensor:
    """Colour baseline: the 16 x 16 Lab patch around each cell as a 4 x 4 thumbnail.

    Mapped to unit vectors whose cosine falls with the squared distance of the thumbnails: a constant
    coordinate of ``scale`` (in Lab units times the number of entries) is appended before normalising.
    """
    lab = cv2.cvtColor(rgb.astype(np.float32) / 255, cv2.COLOR_RGB2Lab) - np.array([50, 0, 0], np.float32)
    small = cv2.resize(lab, (rgb.shape[1] // 4, rgb.shape[0] // 4), interpolation=cv2.INTER_AREA)
    small = cv2.copyMakeBorder(small, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    planes = torch.from_numpy(small).permute(2, 0, 1)[None]
    patches = torch.nn.functional.unfold(planes, 4, stride=2)[0].T
    grid = (rgb.shape[0] // CELL, rgb.shape[1] // CELL)
    constant = torch.full((len(patches), 1), scale * patches.shape[1] ** 0.5)
    return torch.nn.functional.normalize(torch.cat([patches, constant], 1), dim=-1).unflatten(0, grid)
