"""No optical flow: masks are not warped (ablation)."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt

__all__ = ["build"]


class _NoFlow:
    def __call__(self, source: npt.NDArray[Any], target: npt.NDArray[Any]) -> None:
        return None


def build() -> _NoFlow:
    """Build a method that always returns None."""
    return _NoFlow()
