"""Dense inverse search (DIS, Kroeger et al., ECCV 2016) from OpenCV: milliseconds on the CPU, without weights."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slimevid.motion.flows import Flow

__all__ = ["build"]

_MIN_SIDE_PIXELS = 16  # smaller images have no patch in OpenCV's pyramid, and may crash the process


def _flow(source: npt.NDArray[Any], target: npt.NDArray[Any]) -> npt.NDArray[Any]:
    # A new object for each pair: an old object keeps state between small images, and is no cheaper.
    method = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    method.setVariationalRefinementIterations(0)
    first, second = (cv2.cvtColor(np.asarray(rgb), cv2.COLOR_RGB2GRAY) for rgb in (source, target))
    height, width = first.shape
    down, right = max(0, _MIN_SIDE_PIXELS - height), max(0, _MIN_SIDE_PIXELS - width)
    if down or right:
        edge = cv2.BORDER_REPLICATE
        first, second = (cv2.copyMakeBorder(grey, 0, down, 0, right, edge) for grey in (first, second))
    return np.ascontiguousarray(method.calc(first, second, None)[:height, :width])


def build() -> Flow:
    """Build DIS with the medium preset, but without variational refinement.

    The refinement smooths across motion boundaries. With it, masks warped by a single frame lose half a point of J and
    F, and it takes a third of the time (docs/log/2026-benchmarks.md).
    """
    return _flow
