"""Where parts can be found next: near where they were, unless some of them are gone.

What enters the picture as the camera turns may resemble nothing that was ever seen: sky, a fence. Whatever the memory
then takes it for, it remembers, and takes for certain from the next frame on. But a thing that is all there does not
appear a second time, far from itself. What went out of sight, behind a trunk or out of the picture, may come back
anywhere, and then nothing is held against far places. Record 34 says what that is worth.
"""

from __future__ import annotations

import cv2
import numpy as np

from slimecore.array_types import Array

__all__ = ["all_parts_visible", "distance_penalty", "running_max_area"]

_LIMIT = 8.0  # largest log-odds against a far place
_GONE = 0.7  # a part is partly gone when less than this share of what it was lately is left
_FORGET = 0.98  # ... which falls by this factor from frame to frame: things get smaller by moving away, too


def distance_penalty(there: Array, reach: float) -> Array:
    """Log-odds of the background by the distance from where parts are expected.

    Parameters
    ----------
    there : (h, w) bool
        Where they are, carried to this frame.
    reach : float
        Share of the short side within which nothing is said; from twice that on the log-odds are largest.

    Returns
    -------
    (h, w) float32
        0..8; 0 everywhere if parts are expected nowhere.
    """
    if not there.any():
        return np.zeros(there.shape, np.float32)
    distance = cv2.distanceTransform((~there).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    return np.asarray(_LIMIT * np.clip(distance / (reach * min(there.shape)) - 1, 0, 1), np.float32)


def running_max_area(areas: Array, before: Array) -> Array:
    """What parts measured lately, (P - 1,), of their areas now and of what this said of the frame before."""
    return np.asarray(np.maximum(areas, _FORGET * before))


def all_parts_visible(areas: Array, lately: Array) -> bool:
    """Whether all parts are there as they were lately, by their areas (P - 1,) and :func:`largest` of them."""
    return bool(((areas > 0) & (areas >= _GONE * lately)).all())
