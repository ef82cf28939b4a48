"""Memory only: WAS through time, without flow, motion or learned parts; the ablation that says what the memory does.

References are permanent, recent frames pass through the FIFO, as in ``fused``; positions of remembered places stay
where they were, since no motion is known.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch

from slimecore.array_types import Array
from slimecore.errors import ConfigError
from slimecore.imaging.resize import resize_soft
from slimecore.memory.mask_memory import MaskMemory
from slimevid.frame.features import FrameFeatures
from slimevid.motion.flows import Flow
from slimevid.propagators import Context
from slimevid.propagators.fused import recall

__all__ = ["AHEAD", "COMPLETED", "KEYED", "NEEDS_MODEL", "NEEDS_PARTS", "REFINE", "WINDOWED", "build"]

NEEDS_MODEL = True
NEEDS_PARTS = False
REFINE = True
WINDOWED = False
COMPLETED = False
KEYED = False
_DOUBT = 0.1  # as in fused: a place less sure than all but this is read finely


def prepare(state: FrameFeatures, before: FrameFeatures | None, flow: Flow) -> None:
    """Make what a step needs and labels do not decide."""
    _ = state.grid_features


AHEAD = prepare


class _Was:
    def __init__(self, context: Context) -> None:
        self._device = context.device
        self._memory = MaskMemory(context.config.memory, context.config.seed)

    def remember(self, state: FrameFeatures, soft: Array) -> None:
        self._write(state, soft, permanent=True)

    def start(self, state: FrameFeatures, soft: Array) -> None:
        pass

    def step(self, state: FrameFeatures) -> Array:
        soft = recall(self._memory, state.grid_features, lambda coarse: np.asarray(coarse.max(0) < 1 - _DOUBT))
        if self._memory.should_write():
            self._write(state, soft, permanent=False)
        return soft

    def snapshot(self) -> dict[str, Array]:
        return {name: tensor.cpu().numpy() for name, tensor in self._memory.snapshot().items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        self._memory.restore({name: torch.from_numpy(array).to(self._device) for name, array in state.items()})

    @property
    def nbytes(self) -> int:
        return self._memory.nbytes

    def _write(self, state: FrameFeatures, soft: Array, *, permanent: bool) -> None:
        mask = torch.from_numpy(resize_soft(soft, state.grid_features.grid)).to(state.grid_features.device)
        self._memory.write(state.grid_features, mask, permanent=permanent)


def build(context: Context) -> _Was:
    """Read every frame out of the memory alone."""
    if not context.config.fusion.memory_weight:
        raise ConfigError("--propagator memory_only reads the memory alone; it cannot run with fusion.memory_weight=0")
    return _Was(context)
