"""Backbones, a file each. CONTRIBUTING.md describes how to add another.

A backbone file defines ``build(spec, device, seed) -> Backbone``. It is found by its file name
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
    """Model to load and how to run it.

    Parameters
    ----------
    name : str
        ``slime-tiny``, a folder in Stable Diffusion format, or a Hub id.
    revision : str or None
        Hub revision (branch, tag or commit).
    variant : str or None
        Weight variant such as ``fp16``.
    backbone : str
        Name of a file in ``slimecore/backbones``.
    dtype : str
        ``auto``, ``half``, ``float32``, ``bfloat16`` or ``float16``. See :func:`slimecore.runtime.device.pick_dtype`.
    timestep : int or None
        Diffusion timestep of the read-out. None takes the checkpoint's own.
    """

    name: str = "slime-tiny"
    revision: str | None = None
    variant: str | None = None
    backbone: str = "stable_diffusion"
    dtype: str = "auto"
    timestep: int | None = None


class Backbone(Protocol):
    """Frozen network that encodes images once for many read-outs."""

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
        """Return the (dim,) mean of the neutral prompt's embeddings, the initial value of learned tokens."""
        ...

    def encode(self, rgb: Tensor, draws: int = 1) -> Features:
        """Encode a batch of images, deterministically.

        Parameters
        ----------
        rgb : (B, 3, H, W) float tensor
            RGB, 0..1, with H and W multiples of `multiple`.
        draws : int
            Seeded noise samples per image.

        Returns
        -------
        Features
            Of B * draws images. The samples of an image are adjacent.
        """
        ...

    def describe(self, rgb: Tensor) -> Tensor:
        """Compute only the ``descriptor`` of :meth:`encode`, (B, D, h, w), running no layer beyond it."""
        ...

    def token_keys(self, vectors: Tensor) -> tuple[Tensor, ...]:
        """Project tokens (T, dim) to keys (heads, T, d) of each cross-attention layer, differentiably."""
        ...


def load_model(spec: ModelSpec, device: str, seed: int) -> Backbone:
    """Load the model of a specification.

    Parameters
    ----------
    spec : ModelSpec
    device : str
        ``auto``, ``cpu`` or another name that :func:`slimecore.runtime.device.pick_device` accepts.
    seed : int
        Seed of the read-out's noise.

    Returns
    -------
    Backbone

    Raises
    ------
    ModelError
        The model is not found, not reachable or damaged.
    """
    from slimecore.runtime import plugins
    from slimecore.runtime.device import pick_device

    backbone: Backbone = plugins.load("slimecore.backbones", spec.backbone).build(spec, pick_device(device), seed)
    return backbone
