"""Memory of earlier masks: WAS-attention through time.

Keys are places of remembered frames, values their soft masks; reading is :func:`slimecore.was.was_attention` with
longer K and V. Reference frames are permanent; recent frames pass through a bounded FIFO, so the bytes are bounded
whatever the length of the clip.

The similarity of two places is a sum of terms: learned descriptors (cosine / temperature), colour (squared Lab
distance) and, for recent frames, nearness in the picture. Each is written as columns of q and k whose dot product is
the term (up to what is constant for a query, which the softmax ignores), so one softmax sees the sum and one kernel
does it all.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import torch
from torch import Tensor

from slimecore.memory_config import MemoryConfig
from slimecore.was import was_attention

__all__ = ["MaskMemory", "Places"]


@dataclass(frozen=True, slots=True, eq=False)
class Places:
    """The places of one frame, row-major.

    Parameters
    ----------
    descriptor : (N, D) float tensor
        L2-normalised.
    color : (N, C) float tensor
        Patches of :func:`slimecore.color.lab_patches`.
    grid : (int, int)
        ``(h, w)`` with ``h * w == N``.
    """

    descriptor: Tensor
    color: Tensor
    grid: tuple[int, int]

    def positions(self) -> Tensor:
        """(N, 2) float rows and columns, as shares of the grid's short side."""
        h, w = self.grid
        y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
        return (torch.stack([y, x], -1).reshape(-1, 2) / min(h, w)).to(self.descriptor)


class MaskMemory:
    """Bounded memory of places and soft masks.

    Parameters
    ----------
    config : MemoryConfig
    """

    def __init__(self, config: MemoryConfig) -> None:
        self._config = config
        self._permanent: list[tuple[Tensor, Tensor]] = []
        self._recent: deque[tuple[Tensor, Tensor]] = deque(maxlen=config.recent)
        self._since = 0

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return sum(t.numel() * t.element_size() for entry in (*self._permanent, *self._recent) for t in entry)

    def __len__(self) -> int:
        return len(self._permanent) + len(self._recent)

    def write(self, places: Places, mask: Tensor, *, permanent: bool = False) -> None:
        """Remember a frame, or count it as passed.

        Parameters
        ----------
        places : Places
        mask : (P, h, w) float tensor
            Soft labels on the grid of `places`, summing to 1 over parts.
        permanent : bool
            References and corrections: never dropped, always written.
        """
        evidence = mask.flatten(1).T.contiguous().float()
        if permanent:
            self._permanent.append((self._keys(places, evidence, permanent=True), evidence))
            return
        self._since += 1
        if self._config.recent and self._since >= self._config.every:
            self._recent.append((self._keys(places, evidence, permanent=False), evidence))
            self._since = 0

    def _keys(self, places: Places, evidence: Tensor, *, permanent: bool) -> Tensor:
        config = self._config
        share = evidence.mean(0).clamp(min=1e-3).log()
        bias = -config.balance * (evidence @ share)
        columns = [places.descriptor / config.temperature]
        if config.color:
            columns.append(config.color * places.color)
            bias = bias - 0.5 * config.color * places.color.square().sum(1)
        columns.append(bias[:, None])
        if config.window:
            near = places.positions() / config.window**2
            squared = 0.5 * (places.positions() / config.window).square().sum(1, keepdim=True)
            tail = torch.cat([near, -squared, -torch.ones_like(squared)], 1)
            # A permanent key answers all positions alike: its position columns are zero.
            columns.append(torch.zeros_like(tail) if permanent else tail)
        return torch.cat(columns, 1)

    def _queries(self, places: Places) -> Tensor:
        config = self._config
        one = torch.ones_like(places.descriptor[:, :1])
        columns = [places.descriptor]
        if config.color:
            columns.append(places.color)
        columns.append(one)
        if config.window:
            position = places.positions()
            columns += [position, one, 0.5 * (position / config.window).square().sum(1, keepdim=True)]
        return torch.cat(columns, 1)

    @torch.no_grad()
    def read(self, places: Places) -> Tensor:
        """Labels that remembered places suggest for the places of a new frame.

        Parameters
        ----------
        places : Places

        Returns
        -------
        (P, h, w) float tensor, summing to 1 over parts
        """
        entries = (*self._permanent, *self._recent)
        key = torch.cat([k for k, _ in entries])[None]
        evidence = torch.cat([m for _, m in entries])
        query = self._queries(places)[None]
        read = was_attention(query, key, evidence, scale=1.0, top_k=self._config.top_k or None)
        return read.T.reshape(-1, *places.grid)
