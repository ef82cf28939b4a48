"""Warp soft masks along optical flow, and estimate the reliability of the flow."""

from __future__ import annotations

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box
from slimecore.imaging.resize import resize_soft

__all__ = ["FLOW_TOLERANCE", "reliability", "resized_sampling_grid", "sampling_grid", "warp_soft"]

FLOW_TOLERANCE = 1.0
"""Forward-backward error of the flow between neighbouring frames, in pixels, at which reliability falls to 1/e."""


def warp_soft(soft: Array, maps: tuple[Array, Array]) -> Array:
    """Warp the soft mask of the previous frame to the present frame.

    Parameters
    ----------
    soft : (P, h, w) float32
        Soft labels of the previous frame, 0..1.
    maps : pair of (h, w) float32
        :func:`sampling_grid` of the flow from the present frame into the previous frame.

    Returns
    -------
    (P, h, w) float32
        Sampled bilinearly. Outside the image the border repeats.
    """
    out = np.zeros((len(soft), *maps[0].shape), np.float32)
    for plane, warped in zip(soft, out, strict=True):
        cv2.remap(plane, *maps, cv2.INTER_LINEAR, dst=warped, borderMode=cv2.BORDER_REPLICATE)
    return out


def reliability(flow: Array, back: Array, maps: tuple[Array, Array], tolerance: float) -> Array:
    """Compute the reliability of `flow` by the forward-backward check (Sundaram et al., ECCV 2010).

    With forward-backward error e, it is ``exp(-(e / (tolerance + 0.05 |flow|))**2)``.

    Parameters
    ----------
    flow : (h, w, 2) float32
        Displacements in pixels from the present frame into the previous frame.
    back : (h, w, 2) float32
        Displacements in pixels from the previous frame into the present frame.
    maps : pair of (h, w) float32
        :func:`sampling_grid` of `flow`.
    tolerance : float
        Error in pixels at which the reliability of a pixel without motion falls to 1/e.

    Returns
    -------
    (h, w) float32
        0..1. 0 where the motion leaves the image.
    """
    map_x, map_y = maps
    returned = cv2.remap(back, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT)
    error = _length(flow + returned)
    allowed = tolerance + 0.05 * _length(flow)
    h, w = error.shape
    inside = (map_x >= 0) & (map_x <= w - 1) & (map_y >= 0) & (map_y <= h - 1)
    return np.asarray(np.exp(-((error / allowed) ** 2)) * inside, np.float32)


def _length(vectors: Array) -> Array:
    """Compute the lengths (h, w) float32 of vectors (h, w, 2) float32."""
    # several times faster than numpy.linalg.norm
    return np.asarray(cv2.magnitude(*cv2.split(vectors)))


def sampling_grid(flow: Array) -> tuple[Array, Array]:
    """Return the end point of each pixel's motion, x and y (h, w) float32 each, for a flow (h, w, 2) in pixels."""
    h, w = flow.shape[:2]
    x, y = np.meshgrid(np.arange(w, dtype=np.float32), np.arange(h, dtype=np.float32))
    return x + flow[..., 0], y + flow[..., 1]


def resized_sampling_grid(flow: Array, size: tuple[int, int], box: Box) -> tuple[Array, Array]:
    """Compute :func:`sampling_grid` of a flow resized to another image size, within a box.

    Parameters
    ----------
    flow : (h, w, 2) float32
        Displacements in pixels.
    size : (int, int)
        Height and width of the other image, in pixels.
    box : Box
        Rows and columns of that image.

    Returns
    -------
    pair of (h, w) float32
        x and y of the end points, for the pixels of `box`, in pixels of the other image.
    """
    h, w = flow.shape[:2]
    motion = resize_soft(np.stack(cv2.split(flow)), size)[(slice(None), *box)]
    y, x = np.mgrid[box].astype(np.float32)
    return x + motion[0] * np.float32(size[1] / w), y + motion[1] * np.float32(size[0] / h)
