"""Baseline: the mask memory alone (WAS-attention through time), without flow, motion or learned parts.

References are permanent and recent frames pass through the FIFO, as in ``fused``. Cell positions of remembered frames
stay where they were, since no motion is known.
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
from slimevid.fusion.memory_reading import read_memory
from slimevid.motion.composition import StepMotion
from slimevid.propagators import Context, StepResult, Traits

__all__ = ["TRAITS", "build"]

TRAITS = Traits(needs_model=True, guided_filter=True, prefetch=lambda features: features.grid_features)
_MIN_CONFIDENCE = 0.9  # as in fused: a less confident cell is read finely


class _MemoryOnly:
    def __init__(self, context: Context) -> None:
        self._device = context.device
        self._memory = MaskMemory(context.config.memory, context.config.seed)

    def remember(self, features: FrameFeatures, soft: Array) -> None:
        self._write(features, soft, permanent=True)

    def start(self, features: FrameFeatures, soft: Array) -> None:
        pass

    def step(self, features: FrameFeatures, motion: StepMotion | None = None) -> StepResult:
        labels = read_memory(
            self._memory, features.grid_features, lambda coarse: np.asarray(coarse.max(0) < _MIN_CONFIDENCE)
        )
        if self._memory.should_write():
            self._write(features, labels, permanent=False)
        return StepResult(labels)

    def snapshot(self) -> dict[str, Array]:
        return {name: tensor.cpu().numpy() for name, tensor in self._memory.snapshot().items()}

    def restore(self, state: Mapping[str, Array]) -> None:
        self._memory.restore({name: torch.from_numpy(array).to(self._device) for name, array in state.items()})

    @property
    def nbytes(self) -> int:
        return self._memory.nbytes

    def _write(self, features: FrameFeatures, soft: Array, *, permanent: bool) -> None:
        grid_features = features.grid_features
        mask = torch.from_numpy(resize_soft(soft, grid_features.grid)).to(grid_features.device)
        self._memory.write(grid_features, mask, permanent=permanent)


def build(context: Context) -> _MemoryOnly:
    """Build a propagator that reads every frame from the memory alone.

    Raises
    ------
    ConfigError
        The memory is switched off.
    """
    if not context.config.fusion.memory_weight:
        raise ConfigError("--propagator memory_only reads the memory alone; it cannot run with fusion.memory_weight=0")
    return _MemoryOnly(context)
