"""Backbones: one file each. Adding one is described in CONTRIBUTING.md.

A backbone file holds ``build(spec) -> Backbone``. It is found by its file name
(:func:`slimecore.runtime.plugins.load`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from slimecore.attention.cross_attention import Features

__all__ = ["Backbone", "ModelSpec", "load_model"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """Which model, and how to run it.

    Parameters
    ----------
    name : str
        ``slime-tiny``, a folder in Stable Diffusion format, or a Hub id.
    revision : str or None
        Hub revision (branch, tag or commit).
    variant : str or None
        Weight variant such as ``fp16``.
    backbone : str
        File in ``slimecore/backbones``.
    dtype : str
        ``auto``, ``half``, ``float32``, ``bfloat16`` or ``float16``; see :func:`slimecore.runtime.device.pick_dtype`.
    timestep : int or None
        Diffusion timestep of the read-out; None takes the checkpoint's own.
    """

    name: str = "slime-tiny"
    revision: str | None = None
    variant: str | None = None
    backbone: str = "stable_diffusion"
    dtype: str = "auto"
    timestep: int | None = None


class Backbone(Protocol):
    """Encode once, read out often."""

    name: str
    revision: str
    multiple: int
    token_dim: int
    device: torch.device

    @property
    def cross_layers(self) -> int:
        """Number of cross-attention layers of the read-out."""
        ...

    def null_token(self) -> Tensor:
        """(dim,) mean of the neutral prompt's embeddings: where learned tokens start."""
        ...

    def encode(self, rgb: Tensor, draws: int = 1) -> Features:
        """Features of (B, 3, H, W) float RGB 0..1 with H and W multiples of `multiple`; deterministic.

        With `draws` > 1, each picture's features come that often, side by side, under other seeded noise.
        """
        ...

    def describe(self, rgb: Tensor) -> Tensor:
        """The ``descriptor`` of :meth:`encode` alone, (B, C, h, w), at the cost of the layers up to it."""
        ...

    def token_keys(self, vectors: Tensor) -> tuple[Tensor, ...]:
        """Keys (heads, T, d) of tokens (T, dim) for each cross-attention layer; differentiable."""
        ...


def load_model(spec: ModelSpec, device: str, seed: int) -> Backbone:
    """The model of a specification.

    Raises
    ------
    ModelError
        Not found, not reachable or damaged.
    """
    from slimecore.runtime import plugins
    from slimecore.runtime.device import pick_device

    backbone: Backbone = plugins.load("slimecore.backbones", spec.backbone).build(spec, pick_device(device), seed)
    return backbone
