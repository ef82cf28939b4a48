"""Baseline: SLiMe on each frame alone. Learned parts and WAS-attention, no memory, no motion."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from slimecore.array_types import Array
from slimecore.segmentation.readout import PartKeys, read_out
from slimevid.frame.features import FrameFeatures
from slimevid.motion.composition import StepMotion
from slimevid.propagators import Context, StepResult, Traits

__all__ = ["TRAITS", "build"]

TRAITS = Traits(
    needs_model=True, needs_embeddings=True, guided_filter=True, prefetch=lambda features: features.features
)


class _PerFrame:
    nbytes = 0

    def __init__(self, keys: PartKeys) -> None:
        self._keys = keys

    def remember(self, features: FrameFeatures, soft: Array) -> None:
        pass

    def start(self, features: FrameFeatures, soft: Array) -> None:
        pass

    def snapshot(self) -> dict[str, Array]:
        return {}

    def restore(self, state: Mapping[str, Array]) -> None:
        pass

    def step(self, features: FrameFeatures, motion: StepMotion | None = None) -> StepResult:
        return StepResult(np.asarray(read_out(features.features, self._keys)[0].cpu().numpy()))


def build(context: Context) -> _PerFrame:
    """Build a propagator that segments every frame on its own.

    Raises
    ------
    RuntimeError
        The context holds no projected embeddings.
    """
    if context.keys is None:
        raise RuntimeError("per_frame needs learned parts")
    return _PerFrame(context.keys)
