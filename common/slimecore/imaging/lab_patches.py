"""Describe the colour of grid cells by small CIELAB patches."""

from __future__ import annotations

import cv2
import numpy as np

from slimecore.array_types import Array

__all__ = ["lab_half_cells", "lab_patches"]


def lab_half_cells(rgb: Array, grid: tuple[int, int]) -> Array:
    """Average the Lab colour of the four quarters of every grid cell.

    Parameters
    ----------
    rgb : (h, w, 3) uint8
    grid : (int, int)
        ``(gh, gw)``.

    Returns
    -------
    (2 gh + 2, 2 gw + 2, 3) float32
        L, a and b divided by 100. The outermost half-cells repeat, so that every cell has neighbours.
    """
    small = cv2.resize(np.asarray(rgb), (2 * grid[1], 2 * grid[0]), interpolation=cv2.INTER_AREA)
    half = cv2.cvtColor(small.astype(np.float32) / 255, cv2.COLOR_RGB2LAB) / np.float32(100)
    return np.pad(half, ((1, 1), (1, 1), (0, 0)), mode="edge")


def lab_patches(cells: Array, row: Array, column: Array) -> Array:
    """Gather the colour patches around given cells.

    Parameters
    ----------
    cells : (2 gh + 2, 2 gw + 2, 3) float32
        From :func:`lab_half_cells`.
    row, column : (n,) int
        Grid positions of the cells.

    Returns
    -------
    (n, 48) float32
        The 4 x 4 half-cells centred on each cell, two cells wide, divided by 4. The squared distance of two rows is
        then the mean squared colour difference over the patch.
    """
    high, wide, deep = cells.strides
    shape = (cells.shape[0] // 2 - 1, cells.shape[1] // 2 - 1, 4, 4, 3)
    windows = np.lib.stride_tricks.as_strided(cells, shape, (2 * high, 2 * wide, high, wide, deep), writeable=False)
    return np.asarray(windows[row, column].reshape(len(row), 48) / np.float32(4))
