"""Optical flow: one file a method, holding ``build() -> Flow``."""

from __future__ import annotations

from typing import Any, Protocol

import numpy.typing as npt

__all__ = ["Flow"]


class Flow(Protocol):
    """Dense motion between two pictures."""

    def __call__(self, source: npt.NDArray[Any], target: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Displacement of every pixel of `source` into `target`.

        Parameters
        ----------
        source, target : (h, w, 3) uint8
            RGB.

        Returns
        -------
        (h, w, 2) float32 or None
            ``(dx, dy)`` in pixels: ``source[y, x]`` shows what ``target[y + dy, x + dx]`` shows. None: no motion known.
        """
        ...
