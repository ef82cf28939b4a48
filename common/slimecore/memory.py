"""Memory of earlier masks: WAS-attention through time.

Keys are the descriptors of remembered frames, values their soft masks; reading is :func:`slimecore.was.was_attention`
with longer K and V. Reference frames are permanent; recent frames pass through a bounded FIFO, so the bytes are bounded
whatever the length of the clip.
"""

from __future__ import annotations

from collections import deque

import torch
from torch import Tensor

from slimecore.memory_config import MemoryConfig
from slimecore.was import was_attention

__all__ = ["MaskMemory"]

class MaskMemory:
    """Bounded memory of descriptors and soft masks.

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
        entries = [*self._permanent, *self._recent]
        return sum(t.numel() * t.element_size() for entry in entries for t in entry)

    def __len__(self) -> int:
        return len(self._permanent) + len(self._recent)

    def write(self, descriptor: Tensor, mask: Tensor, *, permanent: bool = False) -> None:
        """Remember a frame, or count it as passed.

        Parameters
        ----------
        descriptor : (1, D, h, w) float tensor, L2-normalised over D
        mask : (P, h, w) float tensor
            Soft labels on the same grid, summing to 1 over parts.
        permanent : bool
            References and corrections: never dropped, always written.
        """
        entry = (descriptor[0].flatten(1).T.contiguous(), mask.flatten(1).T.contiguous().float())
        if permanent:
            self._permanent.append(entry)
            return
        self._since += 1
        if self._config.recent and self._since >= self._config.every:
            self._recent.append(entry)
            self._since = 0

    @torch.no_grad()
    def read(self, descriptor: Tensor) -> Tensor:
        """Labels that remembered places suggest for the places of a new frame.

        Parameters
        ----------
        descriptor : (1, D, h, w) float tensor, L2-normalised over D

        Returns
        -------
        (P, h, w) float tensor, summing to 1 over parts
        """
        grid = descriptor.shape[-2:]
        entries = [*self._permanent, *self._recent]
        key = torch.cat([k for k, _ in entries])[None]
        evidence = torch.cat([m for _, m in entries])
        query = descriptor[0].flatten(1).T[None]
        read = was_attention(
            query,
            key,
            evidence,
            scale=1.0 / self._config.temperature,
            top_k=self._config.top_k or None,
        )
        return read.T.unflatten(-1, tuple(grid))
