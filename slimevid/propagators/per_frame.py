"""SLiMe on each frame alone: learned parts and WAS, no memory, no motion."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy.typing as npt

from slimecore.segmentation.readout import PartKeys, read_out
from slimevid.frame.features import FrameFeatures
from slimevid.motion.flows import Flow
from slimevid.propagators import Context

__all__ = ["AHEAD", "COMPLETED", "KEYED", "NEEDS_MODEL", "NEEDS_PARTS", "REFINE", "WINDOWED", "build"]

NEEDS_MODEL = True
NEEDS_PARTS = True
REFINE = True
WINDOWED = False
COMPLETED = False
KEYED = False


def prepare(state: FrameFeatures, before: FrameFeatures | None, flow: Flow) -> None:
    """Make what a step needs and labels do not decide."""
    _ = state.features


AHEAD = prepare


class _PerFrame:
    nbytes = 0

    def __init__(self, keys: PartKeys) -> None:
        self._keys = keys

    def remember(self, state: FrameFeatures, soft: npt.NDArray[Any]) -> None:
        pass

    def start(self, state: FrameFeatures, soft: npt.NDArray[Any]) -> None:
        pass

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        return {}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        pass

    def step(self, state: FrameFeatures) -> npt.NDArray[Any]:
        evidence: npt.NDArray[Any] = read_out(state.features, self._keys)[0].cpu().numpy()
        return evidence


def build(context: Context) -> _PerFrame:
    """Segment every frame on its own."""
    if context.keys is None:
        raise RuntimeError("per_frame needs learned parts")
    return _PerFrame(context.keys)
