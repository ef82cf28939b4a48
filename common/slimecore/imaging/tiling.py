"""Overlapping crops of a picture and their weighted merge."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from slimecore.array_types import Array
from slimecore.imaging.resize import resize_soft

__all__ = ["TileMerger", "tiles"]


def tiles(size: tuple[int, int], count: int, share: float) -> list[tuple[slice, slice]]:
    """Crops that cover a picture, row by row.

    Parameters
    ----------
    size : (int, int)
        ``(h, w)``.
    count : int
        Crops a side; 1 gives the whole picture.
    share : float
        Side of a crop as a share of the picture's, ``1 / count .. 1``.
    """

    def spans(side: int) -> list[slice]:
        length = side if count == 1 else min(side, max(round(side * share), -(-side // count)))  # no gaps by rounding
        starts = np.linspace(0, side - length, count).round().astype(int)
        return [slice(int(start), int(start) + length) for start in starts]

    return [(rows, columns) for rows in spans(size[0]) for columns in spans(size[1])]


class TileMerger:
    """Weighted mean of the evidence of several crops; order does not matter.

    Parameters
    ----------
    parts : int
    size : (int, int)
        ``(h, w)``.
    merge : str
        ``tent`` or ``uniform``.
    """

    def __init__(self, parts: int, size: tuple[int, int], merge: str) -> None:
        self._sum = np.zeros((parts, *size), np.float64)
        self._weight = np.zeros(size, np.float64)
        self._merge = merge

    def add(self, window: tuple[slice, slice], evidence: Array) -> None:
        """Lay evidence (parts, gh, gw) over a window of the canvas."""
        size = (window[0].stop - window[0].start, window[1].stop - window[1].start)
        weight = np.ones(size) if self._merge == "uniform" else np.minimum.outer(_ramp(size[0]), _ramp(size[1]))
        self._sum[:, window[0], window[1]] += weight * resize_soft(np.ascontiguousarray(evidence), size)
        self._weight[window] += weight

    def soft(self) -> npt.NDArray[np.float32]:
        """Probabilities (parts, h, w) float32, summing to 1; where no part has evidence, the background has all."""
        mean = self._sum / np.maximum(self._weight, 1e-12)
        total = mean.sum(0)
        mean[0] += total <= 1e-9
        return np.asarray(mean / np.maximum(mean.sum(0), 1e-9), np.float32)


def _ramp(length: int) -> Array:
    """Weights that fall linearly to the ends, as shares of the middle's."""
    distance = np.minimum(np.arange(length) + 0.5, length - np.arange(length) - 0.5)
    return np.asarray(distance / (length / 2))
