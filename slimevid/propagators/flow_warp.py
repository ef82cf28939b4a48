"""Baseline: the reference mask, warped from frame to frame by optical flow at full size."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimecore.array_types import Array
from slimevid.frame.features import FrameFeatures
from slimevid.motion.composition import StepMotion
from slimevid.motion.flows import Flow
from slimevid.motion.warp import sampling_grid, warp_soft
from slimevid.propagators import Context, StepResult, Traits

__all__ = ["TRAITS", "build"]

TRAITS = Traits()


class _FlowWarp:
    def __init__(self, flow: Flow) -> None:
        self._flow = flow
        self._labels: Array = np.zeros((0, 0, 0), np.float32)
        self._rgb: Array = np.zeros((0, 0, 3), np.uint8)

    def remember(self, features: FrameFeatures, soft: Array) -> None:
        pass

    def start(self, features: FrameFeatures, soft: Array) -> None:
        self._labels, self._rgb = soft, features.frame.rgb

    def step(self, features: FrameFeatures, motion: StepMotion | None = None) -> StepResult:
        flow = self._flow(features.frame.rgb, self._rgb)
        if flow is not None:
            self._labels = warp_soft(self._labels, sampling_grid(flow))
        self._rgb = features.frame.rgb
        return StepResult(self._labels)

    def snapshot(self) -> dict[str, Array]:
        return {"soft": self._labels, "rgb": self._rgb}

    def restore(self, state: Mapping[str, Array]) -> None:
        self._labels, self._rgb = state["soft"], state["rgb"]

    @property
    def nbytes(self) -> int:
        return int(self._labels.nbytes + self._rgb.nbytes)


def build(context: Context) -> _FlowWarp:
    """Build a propagator that warps the previous soft labels by backward flow."""
    return _FlowWarp(context.flow)
