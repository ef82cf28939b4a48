"""Places whose descriptors and colours are given, where a test wants to choose them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class KnownPlaces:
    """Grid features from given (N, D) unit descriptors and (N, C) colours, row-major on a grid."""

    descriptor: Tensor
    color: Tensor
    grid: tuple[int, int]

    @property
    def device(self):
        return self.descriptor.device

    def __len__(self):
        return len(self.descriptor)

    def gather(self, where=None):
        chosen = slice(None) if where is None else where
        return self.descriptor[chosen], self.color[chosen]

    def positions(self, where=None):
        y, x = torch.meshgrid(*(torch.arange(n) + 0.5 for n in self.grid), indexing="ij")
        found = torch.stack([y, x], -1).reshape(-1, 2) / min(self.grid)
        return found if where is None else found[where]
