"""Colour of places: small Lab patches on a feature grid."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["lab_patches"]


def lab_patches(rgb: npt.NDArray[Any], grid: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Lab colours around every cell of a grid.

    Parameters
    ----------
    rgb : (h, w, 3) uint8
    grid : (int, int)
        ``(gh, gw)``.

    Returns
    -------
    (gh * gw, 48) float32
        Means of the 4 x 4 half-cells centred on each cell (two cells wide), L, a and b in units of 100, divided by 4:
        the squared distance of two rows is the mean squared colour difference over the patch.
    """
    gh, gw = grid
    small = cv2.resize(np.asarray(rgb), (2 * gw, 2 * gh), interpolation=cv2.INTER_AREA)
    half = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / np.float32(100)
    padded = np.pad(half, ((1, 1), (1, 1), (0, 0)), mode="edge")
    shifted = [padded[i : i + 2 * gh : 2, j : j + 2 * gw : 2] for i in range(4) for j in range(4)]
    return np.asarray(np.concatenate(shifted, -1).reshape(gh * gw, 48) / 4, np.float32)
