"""Carry a soft mask along optical flow, and say where that can be trusted."""

from __future__ import annotations

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box
from slimecore.imaging.resize import resize_soft

__all__ = ["FLOW_TOLERANCE", "reliability", "resized_sampling_grid", "sampling_grid", "warp_soft"]

FLOW_TOLERANCE = 1.0
"""Round-trip error of the flow of one step, in pixels, at which trust in it falls to 1/e."""


def warp_soft(soft: Array, maps: tuple[Array, Array]) -> Array:
    """Previous soft mask seen from the present frame.

    Parameters
    ----------
    soft : (P, h, w) float32
        Soft labels of the previous frame.
    maps : pair of (h, w) float32
        :func:`targets` of the flow from the present frame into the previous one.

    Returns
    -------
    (P, h, w) float32
        Bilinear; outside the picture the border repeats.
    """
    out = np.zeros((len(soft), *maps[0].shape), np.float32)
    for plane, moved in zip(soft, out, strict=True):
        cv2.remap(plane, *maps, cv2.INTER_LINEAR, dst=moved, borderMode=cv2.BORDER_REPLICATE)
    return out


def reliability(flow: Array, back: Array, maps: tuple[Array, Array], tolerance: float) -> Array:
    """Trust in `flow`, 0..1, by the forward-backward check (Sundaram et al., ECCV 2010).

    Parameters
    ----------
    flow : (h, w, 2) float32
        From the present frame into the previous one.
    back : (h, w, 2) float32
        From the previous frame into the present one.
    maps : pair of (h, w) float32
        :func:`targets` of `flow`.
    tolerance : float
        Round-trip error in pixels at which trust falls to 1/e; grows by 5 % of the motion's length.

    Returns
    -------
    (h, w) float32
        0 where the motion leaves the picture.
    """
    map_x, map_y = maps
    returned = cv2.remap(back, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    error = _length(flow + returned)
    allowed = tolerance + 0.05 * _length(flow)
    h, w = error.shape
    inside = (map_x >= 0) & (map_x <= w - 1) & (map_y >= 0) & (map_y <= h - 1)
    return np.asarray(np.exp(-((error / allowed) ** 2)) * inside, np.float32)


def _length(vectors: Array) -> Array:
    """Length (h, w) float32 of vectors (h, w, 2) float32; several times faster than `numpy.linalg.norm`."""
    return np.asarray(cv2.magnitude(*cv2.split(vectors)))


def sampling_grid(flow: Array) -> tuple[Array, Array]:
    """Where each pixel's motion leads: x and y, (h, w) float32 each, of a flow (h, w, 2) float32 in pixels."""
    h, w = flow.shape[:2]
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    return x + flow[..., 0], y + flow[..., 1]


def resized_sampling_grid(flow: Array, size: tuple[int, int], box: Box) -> tuple[Array, Array]:
    """:func:`targets` of a flow brought to a picture of another size, within a box of that."""
    h, w = flow.shape[:2]
    motion = resize_soft(np.stack(cv2.split(flow)), size)[(slice(None), *box)]
    y, x = np.mgrid[box].astype(np.float32)
    return x + motion[0] * np.float32(size[1] / w), y + motion[1] * np.float32(size[0] / h)
