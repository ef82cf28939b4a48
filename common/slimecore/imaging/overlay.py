"""Draw masks over pictures."""

from __future__ import annotations

from functools import cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from slimecore.imaging.palette import davis_palette

__all__ = ["overlay"]


def overlay(
    rgb: npt.NDArray[np.uint8], labels: npt.NDArray[Any], *, opacity: float = 0.5, outline: bool = True
) -> npt.NDArray[np.uint8]:
    """Draw labels over a picture in colours of the DAVIS palette, with a light outline.

    Parameters
    ----------
    rgb : (h, w, 3) uint8
    labels : (h, w) int, 0..65535
        Pixels of 0 are left unchanged. Values above 255 take the colours of 1..255 again.
    opacity : float
        Weight of the colour inside a part, 0..1.
    outline : bool
        Draw the border between labels.

    Returns
    -------
    (h, w, 3) uint8
    """
    index = (labels if labels.dtype == np.uint8 else np.where(labels > 255, (labels - 1) % 255 + 1, labels)).astype(
        np.uint8
    )
    blended = cv2.addWeighted(rgb, 1 - opacity, _bright_palette()[index], opacity, 0)
    out = np.where((index > 0)[..., None], blended, rgb)
    if outline:
        edge = cv2.morphologyEx(index, cv2.MORPH_GRADIENT, np.ones((3, 3), np.uint8)) > 0
        out[edge] = (0.25 * out[edge] + 0.75 * 255).astype(np.uint8)
    return np.asarray(out, np.uint8)


@cache
def _bright_palette() -> npt.NDArray[np.uint8]:
    """Return the DAVIS palette (256, 3), brightened with its hues kept, because dark colours vanish on video."""
    return (davis_palette().astype(np.int32) * 3 // 2 + 24).clip(0, 255).astype(np.uint8)
