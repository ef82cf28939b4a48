"""Region similarity J and boundary accuracy F (Perazzi et al., CVPR 2016), and IoU per part.

Both follow the definitions of the official DAVIS evaluation, frame by frame, on boolean masks.
"""

from __future__ import annotations

import math
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError

__all__ = ["boundary_f", "boundary_map", "region_j"]

Mask = npt.NDArray[np.bool_]
_BOUND = 0.008


def _pair(prediction: npt.NDArray[Any], truth: npt.NDArray[Any]) -> tuple[Mask, Mask]:
    if prediction.shape != truth.shape or prediction.ndim != 2:
        raise InputError(f"masks must be (h, w) and of one size, got {prediction.shape} and {truth.shape}")
    return prediction.astype(bool), truth.astype(bool)


def region_j(prediction: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
    """Intersection over union, 0..1; 1 when both are empty.

    Parameters
    ----------
    prediction, truth : (h, w) bool or int
        Nonzero = object.
    """
    a, b = _pair(prediction, truth)
    union = int(np.count_nonzero(a | b))
    return 1.0 if union == 0 else int(np.count_nonzero(a & b)) / union


def boundary_map(mask: Mask) -> Mask:
    """One-pixel boundary, half a pixel towards the origin: a pixel differs from its right, lower or lower-right one.

    Parameters
    ----------
    mask : (h, w) bool

    Returns
    -------
    (h, w) bool
    """
    edge = np.zeros_like(mask)
    edge[:, :-1] |= mask[:, :-1] ^ mask[:, 1:]
    edge[:-1] |= mask[:-1] ^ mask[1:]
    edge[:-1, :-1] |= mask[:-1, :-1] ^ mask[1:, 1:]
    return edge


def boundary_f(prediction: npt.NDArray[Any], truth: npt.NDArray[Any], bound: float = _BOUND) -> float:
    """Harmonic mean of boundary precision and recall, 0..1.

    Parameters
    ----------
    prediction, truth : (h, w) bool or int
    bound : float
        Tolerance: a share of the image diagonal below 1, else pixels.

    Returns
    -------
    float
        1 when neither mask has a boundary, 0 when only one has.
    """
    a, b = _pair(prediction, truth)
    radius = bound if bound >= 1 else math.ceil(bound * math.hypot(*a.shape))
    edge_a, edge_b = boundary_map(a), boundary_map(b)
    count_a, count_b = int(np.count_nonzero(edge_a)), int(np.count_nonzero(edge_b))
    if count_a == 0 or count_b == 0:
        return 1.0 if count_a == count_b else 0.0
    disk = _disk(int(radius))
    near_a = cv2.dilate(edge_a.astype(np.uint8), disk) > 0
    near_b = cv2.dilate(edge_b.astype(np.uint8), disk) > 0
    precision = int(np.count_nonzero(edge_a & near_b)) / count_a
    recall = int(np.count_nonzero(edge_b & near_a)) / count_b
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def _disk(radius: int) -> npt.NDArray[np.uint8]:
    span = np.arange(-radius, radius + 1)
    return (span[:, None] ** 2 + span[None] ** 2 <= radius**2).astype(np.uint8)
