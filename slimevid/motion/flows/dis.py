"""Dense inverse search (Kroeger et al., ECCV 2016) from OpenCV: CPU, milliseconds, no weights."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slimevid.motion.flows import Flow

__all__ = ["build"]


_LEAST = 16  # pixels: of smaller pictures OpenCV's pyramid has no patch, and it may crash the process


def _flow(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # A new object each time: of pictures of few pixels an old one remembers others, and costs no less.
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    method.setVariationalRefinementIterations(0)
    first, second = (cv2.cvtColor(np.asarray(rgb), cv2.COLOR_RGB2GRAY) for rgb in (source, target))
    height, width = first.shape
    down, right = max(0, _LEAST - height), max(0, _LEAST - width)
    if down or right:
        edge = cv2.BORDER_REPLICATE
        first, second = (cv2.copyMakeBorder(grey, 0, down, 0, right, edge) for grey in (first, second))
    return np.ascontiguousarray(method.calc(first, second, None)[:height, :width])


def build() -> Flow:
    """DIS with the medium preset, but no variational refinement.

    That smooths across the borders of what moves: masks carried one frame lose half a point of J and F by it, and it
    takes a third of the time (docs/benchmarks.md).
    """
    return _flow
