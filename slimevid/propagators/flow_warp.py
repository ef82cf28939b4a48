"""Floor: the reference mask carried from frame to frame by optical flow at full size, nothing else."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from slimevid.frame.features import FrameFeatures
from slimevid.motion.flows import Flow
from slimevid.motion.warp import sampling_grid, warp_soft
from slimevid.propagators import Context

__all__ = ["AHEAD", "COMPLETED", "KEYED", "NEEDS_MODEL", "NEEDS_PARTS", "REFINE", "WINDOWED", "build"]

NEEDS_MODEL = False
NEEDS_PARTS = False
REFINE = False
WINDOWED = False
COMPLETED = False
KEYED = False
AHEAD = None


class _FlowWarp:
    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._soft: npt.NDArray[Any] = np.zeros((0, 0, 0), np.float32)
        self._rgb: npt.NDArray[Any] = np.zeros((0, 0, 3), np.uint8)

    def remember(self, state: FrameFeatures, soft: npt.NDArray[Any]) -> None:
        pass

    def start(self, state: FrameFeatures, soft: npt.NDArray[Any]) -> None:
        self._soft, self._rgb = soft, state.frame.rgb

    def step(self, state: FrameFeatures) -> npt.NDArray[Any]:
        flow = self._flow(state.frame.rgb, self._rgb)
        if flow is not None:
            self._soft = warp_soft(self._soft, sampling_grid(flow))
        self._rgb = state.frame.rgb
        return self._soft

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        return {"soft": self._soft, "rgb": self._rgb}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self._soft, self._rgb = state["soft"], state["rgb"]

    @property
    def nbytes(self) -> int:
        return int(self._soft.nbytes + self._rgb.nbytes)


def build(context: Context) -> _FlowWarp:
    """Warp the previous soft mask by backward flow."""
    return _FlowWarp(context.flow)
