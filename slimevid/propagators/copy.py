"""Baseline: the reference mask, unmoved."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimecore.array_types import Array
from slimevid.frame.features import FrameFeatures
from slimevid.motion.composition import StepMotion
from slimevid.propagators import Context, StepResult, Traits

__all__ = ["TRAITS", "build"]

TRAITS = Traits()


class _Copy:
    def __init__(self) -> None:
        self._labels: Array = np.zeros((0, 0, 0), np.float32)

    def remember(self, features: FrameFeatures, soft: Array) -> None:
        pass

    def start(self, features: FrameFeatures, soft: Array) -> None:
        self._labels = soft

    def step(self, features: FrameFeatures, motion: StepMotion | None = None) -> StepResult:
        return StepResult(self._labels)

    def snapshot(self) -> dict[str, Array]:
        return {"soft": self._labels}

    def restore(self, state: Mapping[str, Array]) -> None:
        self._labels = state["soft"]

    @property
    def nbytes(self) -> int:
        return int(self._labels.nbytes)


def build(context: Context) -> _Copy:
    """Build a propagator that copies the reference mask to every frame."""
    return _Copy()
