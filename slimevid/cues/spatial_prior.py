"""Spatial prior: a log-odds penalty far from the predicted position, while all parts are visible.

As the camera turns, new background enters the image, for instance sky or a fence. If the memory takes it for a part, it
stores the error and is certain from the next frame on. But a part that is fully visible does not appear a second time
far away. A part that was occluded, or left the image, may reappear anywhere. Therefore the penalty is switched off as
soon as a part has lost 30 % of its recent area (docs/adr/0034).
"""

from __future__ import annotations

import cv2
import numpy as np

from slimecore.array_types import Array

__all__ = ["all_parts_visible", "distance_penalty", "running_max_area"]

_MAX_LOG_ODDS = 8.0  # penalty far from the predicted position
_MIN_AREA_RATIO = 0.7  # of present to recent area, below which a part counts as partly hidden
_AREA_DECAY_PER_FRAME = 0.98  # of the recent area: objects also shrink by moving away from the camera


def distance_penalty(predicted: Array, search_radius: float) -> Array:
    """Compute log-odds of the background by the distance from the predicted position of the parts.

    Parameters
    ----------
    predicted : (h, w) bool
        Predicted foreground: the previous labels warped to the present frame.
    search_radius : float
        Search radius as a share of the short side ``min(h, w)``. Within it the penalty is 0. From twice the
        radius on it is largest.

    Returns
    -------
    (h, w) float32
        0..8. 0 everywhere if no pixel is predicted as foreground.
    """
    if not predicted.any():
        return np.zeros(predicted.shape, np.float32)
    distance = cv2.distanceTransform((~predicted).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    return np.asarray(_MAX_LOG_ODDS * np.clip(distance / (search_radius * min(predicted.shape)) - 1, 0, 1), np.float32)


def running_max_area(areas: Array, before: Array) -> Array:
    """Update the recent areas (P - 1,): the maximum of the present areas and the decayed recent areas `before`."""
    return np.asarray(np.maximum(areas, _AREA_DECAY_PER_FRAME * before))


def all_parts_visible(areas: Array, recent_areas: Array) -> bool:
    """Return True if every part keeps 70 % of its recent area.

    Both arguments are (P - 1,): present areas, and :func:`running_max_area` of earlier frames.
    """
    return bool(((areas > 0) & (areas >= _MIN_AREA_RATIO * recent_areas)).all())
