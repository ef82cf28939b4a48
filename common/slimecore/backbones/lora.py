"""Low-rank adaptation (LoRA, Hu et al., ICLR 2022) of the cross-attention key and value projections.

SMITE (Alimohammadi et al., 2024) tunes the full projections after the tokens. The low-rank form ``W + up @ down`` is
small enough to be stored in the file of the part embeddings. The weights of the UNet stay unchanged.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from slimecore.errors import ArtifactError

__all__ = ["init_lora", "lora_applied"]


def init_lora(unet: nn.Module, rank: int, generator: torch.Generator) -> dict[str, Tensor]:
    """Initialise the deltas of every cross-attention of a UNet to zero change.

    Parameters
    ----------
    unet : diffusers UNet2DConditionModel
    rank : int
        Rank of each delta. 0 returns an empty mapping.
    generator : torch.Generator

    Returns
    -------
    dict of str to float32 tensor
        ``PATH.down``, (rank, in), Gaussian with variance 1 / in, and ``PATH.up``, (out, rank), zero.
    """
    deltas: dict[str, Tensor] = {}
    for path, module in unet.named_modules():
        if rank and path.endswith(("attn2.to_k", "attn2.to_v")) and isinstance(module, nn.Linear):
            device = module.weight.device
            down = torch.randn(rank, module.in_features, generator=generator) / module.in_features**0.5
            deltas[f"{path}.down"] = down.to(device)
            deltas[f"{path}.up"] = torch.zeros(module.out_features, rank, device=device)
    return deltas


@contextmanager
def lora_applied(unet: nn.Module, deltas: Mapping[str, Tensor]) -> Iterator[None]:
    """Add the deltas to the projections within a context, differentiably.

    Parameters
    ----------
    unet : diffusers UNet2DConditionModel
    deltas : mapping of str to tensor
        Factors as returned by :func:`init_lora`.

    Raises
    ------
    ArtifactError
        A delta names a projection that this UNet does not have, or has another shape.
    """
    handles = []
    try:
        for name in deltas:
            if name.endswith(".down"):
                path = name.removesuffix(".down")
                down, up = deltas[name], deltas.get(f"{path}.up")
                handles.append(_matching_projection(unet, path, down, up).register_forward_hook(_delta_hook(down, up)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _matching_projection(unet: nn.Module, path: str, down: Tensor, up: Tensor | None) -> nn.Linear:
    try:
        module = unet.get_submodule(path)
    except AttributeError:
        module = None
    shapes = None if up is None else (tuple(up.shape), tuple(down.shape))
    if not isinstance(module, nn.Linear) or shapes != (
        (module.out_features, down.shape[0]),
        (down.shape[0], module.in_features),
    ):
        raise ArtifactError(f"the low-rank change of {path!r} does not fit this model; learn the parts again")
    return module


def _delta_hook(down: Tensor, up: Any) -> Any:
    def hook(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        delta: Tensor = args[0].to(down.dtype) @ down.T @ up.T
        return output + delta.to(output.dtype)

    return hook
