"""Crop a picture into overlapping tiles and merge their evidence."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from slimecore.array_types import Array
from slimecore.imaging.resize import resize_soft

__all__ = ["TileMerger", "tiles"]


def tiles(size: tuple[int, int], count: int, share: float) -> list[tuple[slice, slice]]:
    """Return overlapping tiles that cover a picture, row by row.

    Parameters
    ----------
    size : (int, int)
        ``(h, w)`` of the picture in pixels.
    count : int
        Tiles per side. 1 gives the whole picture.
    share : float
        Side of a tile as a fraction of the side of the picture, ``1 / count .. 1``.

    Returns
    -------
    list of (slice, slice)
        Rows and columns of each tile.
    """

    def spans(side: int) -> list[slice]:
        length = (
            side if count == 1 else min(side, max(round(side * share), -(-side // count)))
        )  # rounding must leave no gaps
        starts = np.linspace(0, side - length, count).round().astype(int)
        return [slice(int(start), int(start) + length) for start in starts]

    return [(rows, columns) for rows in spans(size[0]) for columns in spans(size[1])]


class TileMerger:
    """Weighted mean of the evidence of several tiles, independent of their order.

    Parameters
    ----------
    parts : int
        Number of parts P, the background included.
    size : (int, int)
        ``(h, w)`` of the canvas in pixels.
    merge : str
        ``uniform`` weights, or ``tent`` weights that fall linearly towards the border of a tile.
    """

    def __init__(self, parts: int, size: tuple[int, int], merge: str) -> None:
        self._sum = np.zeros((parts, *size), np.float64)
        self._weight = np.zeros(size, np.float64)
        self._merge = merge

    def add(self, window: tuple[slice, slice], evidence: Array) -> None:
        """Resize evidence (P, gh, gw) to a tile of the canvas and add it."""
        size = (window[0].stop - window[0].start, window[1].stop - window[1].start)
        weight = np.ones(size) if self._merge == "uniform" else np.minimum.outer(_ramp(size[0]), _ramp(size[1]))
        self._sum[:, window[0], window[1]] += weight * resize_soft(np.ascontiguousarray(evidence), size)
        self._weight[window] += weight

    def soft(self) -> npt.NDArray[np.float32]:
        """Return (P, h, w) float32 probabilities summing to 1 over P, all background where no part has evidence."""
        mean = self._sum / np.maximum(self._weight, 1e-12)
        total = mean.sum(0)
        mean[0] += total <= 1e-9
        return np.asarray(mean / np.maximum(mean.sum(0), 1e-9), np.float32)


def _ramp(length: int) -> Array:
    """Return (length,) weights that fall linearly from 1 in the middle towards 0 at both ends."""
    distance = np.minimum(np.arange(length) + 0.5, length - np.arange(length) - 0.5)
    return np.asarray(distance / (length / 2))
