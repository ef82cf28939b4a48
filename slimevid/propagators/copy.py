"""Floor: the reference mask, unmoved."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from slimevid.propagators import Context
from slimevid.state import FrameState

__all__ = ["NEEDS_MODEL", "REFINE", "build"]

NEEDS_MODEL = False
REFINE = False


class _Copy:
    def __init__(self) -> None:
        self._soft: npt.NDArray[Any] = np.zeros((0, 0, 0), np.float32)

    def start(self, state: FrameState, soft: npt.NDArray[Any]) -> None:
        self._soft = soft

    def step(self, state: FrameState) -> npt.NDArray[Any]:
        return self._soft

    @property
    def nbytes(self) -> int:
        return int(self._soft.nbytes)


def build(context: Context) -> _Copy:
    """Copy the reference mask to every frame."""
    return _Copy()
