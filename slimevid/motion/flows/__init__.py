"""Optical flow methods: a file per method, with a function ``build() -> Flow``."""

from __future__ import annotations

from typing import Any, Protocol

import numpy.typing as npt

__all__ = ["Flow"]


class Flow(Protocol):
    """Dense optical flow between two images."""

    def __call__(self, source: npt.NDArray[Any], target: npt.NDArray[Any]) -> npt.NDArray[Any] | None:
        """Estimate the displacement of every pixel of `source` into `target`.

        Parameters
        ----------
        source, target : (h, w, 3) uint8
            RGB images of the same size.

        Returns
        -------
        (h, w, 2) float32 or None
            ``(dx, dy)`` in pixels: ``source[y, x]`` corresponds to ``target[y + dy, x + dx]``. None if the method gives
            no flow.
        """
        ...
