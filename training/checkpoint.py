"""State of a run on disk, written atomically, so that a stopped run goes on exactly where it was."""

import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

__all__ = ["Ema", "load_state", "save_state"]


class Ema:
    """Exponential moving average of the parameters, warmed up so that early steps do not linger.

    Parameters
    ----------
    model : torch.nn.Module
    decay : float
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.values: dict[str, Tensor] = {n: p.detach().clone() for n, p in model.named_parameters()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Fold in the parameters after step ``step`` (from 0)."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in model.named_parameters():
            self.values[name].lerp_(value.detach(), 1 - decay)

    @torch.no_grad()
    def copy_to(self, model: nn.Module) -> None:
        """Overwrite the parameters of ``model`` by the average."""
        for name, value in model.named_parameters():
            value.copy_(self.values[name])


def save_state(path: Path, state: dict[str, Any]) -> None:
    """Write tensors and plain values; a reader sees the old file or the new one, never a part."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_suffix(".tmp")
    torch.save(state, temporary)
    os.replace(temporary, path)


def load_state(path: Path) -> dict[str, Any] | None:
    """Read what ``save_state`` wrote, or None when there is no such file."""
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None
