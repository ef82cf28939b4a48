"""Floor: the reference mask, unmoved."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from slimevid.frame.features import FrameFeatures
from slimevid.propagators import Context

__all__ = ["AHEAD", "COMPLETED", "KEYED", "NEEDS_MODEL", "NEEDS_PARTS", "REFINE", "WINDOWED", "build"]

NEEDS_MODEL = False
NEEDS_PARTS = False
REFINE = False
WINDOWED = False
COMPLETED = False
KEYED = False
AHEAD = None


class _Copy:
    def __init__(self) -> None:
        self._soft: npt.NDArray[Any] = np.zeros((0, 0, 0), np.float32)

    def remember(self, state: FrameFeatures, soft: npt.NDArray[Any]) -> None:
        pass

    def start(self, state: FrameFeatures, soft: npt.NDArray[Any]) -> None:
        self._soft = soft

    def step(self, state: FrameFeatures) -> npt.NDArray[Any]:
        return self._soft

    def snapshot(self) -> dict[str, npt.NDArray[Any]]:
        return {"soft": self._soft}

    def restore(self, state: Mapping[str, npt.NDArray[Any]]) -> None:
        self._soft = state["soft"]

    @property
    def nbytes(self) -> int:
        return int(self._soft.nbytes)


def build(context: Context) -> _Copy:
    """Copy the reference mask to every frame."""
    return _Copy()
