"""Low-rank changes of the cross-attention key and value projections.

SMITE (Alimohammadi et al. 2024) tunes those projections after the tokens. As ``W + up @ down`` (LoRA, Hu et al. 2022)
the change is small enough to live in the same file as the part embeddings, and the UNet itself is never touched.
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
    """Deltas that change nothing yet, for every cross-attention of a UNet.

    Parameters
    ----------
    unet : diffusers UNet2DConditionModel
    rank : int
        0 gives none.
    generator : torch.Generator

    Returns
    -------
    dict of str to float32 tensor
        ``PATH.down (rank, in)``, random, and ``PATH.up (out, rank)``, zero.
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
    """Context in which the projections answer with their deltas added; differentiable in the deltas.

    Raises
    ------
    ArtifactError
        A delta names a projection that this UNet does not have, or does not fit it.
    """
    handles = []
    try:
        for name in deltas:
            if name.endswith(".down"):
                path = name.removesuffix(".down")
                down, up = deltas[name], deltas.get(f"{path}.up")
                handles.append(_projection(unet, path, down, up).register_forward_hook(_adding(down, up)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _projection(unet: nn.Module, path: str, down: Tensor, up: Tensor | None) -> nn.Linear:
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


def _adding(down: Tensor, up: Any) -> Any:
    def hook(_module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
        change: Tensor = args[0].to(down.dtype) @ down.T @ up.T
        return output + change.to(output.dtype)

    return hook
