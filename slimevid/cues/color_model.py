"""Colour cue: log-odds of foreground against background for every pixel, from colour histograms of the references.

The memory compares descriptors of grid cells. Where a part is thinner than a cell, the colour of single pixels is the
remaining cue. Histograms of foreground and background colours are known from interactive segmentation (Boykov and
Jolly, ICCV 2001; GrabCut, Rother et al., SIGGRAPH 2004). Here they are learned only from annotations, so they cannot
reinforce their own errors (docs/adr/0028).
"""

from __future__ import annotations

import cv2
import numpy as np

from slimecore.array_types import Array

__all__ = ["LIMIT", "ColorModel"]

LIMIT = 4.0
"""Largest absolute log-odds of a colour."""
_BINS_PER_AXIS = 24  # of CIELAB
_CHROMA_RANGE = 96  # of a and b, in 8-bit units centred on grey. More vivid colours fall into the outer bins
_NEIGHBOR_SHARE = 0.07  # of a bin's count goes to each of its two neighbours along every axis
_MIN_COLOR_SHARE = 2e-5  # added to the share of pixels of every colour, so that unseen colours get log-odds 0


class ColorModel:
    """Colour histograms of background and foreground (all parts together) in CIELAB."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, _BINS_PER_AXIS, _BINS_PER_AXIS, _BINS_PER_AXIS), np.float32)
        self._odds = np.zeros(_BINS_PER_AXIS**3, np.float32)

    @property
    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return self._counts.nbytes + self._odds.nbytes

    def learn(self, rgb: Array, soft: Array) -> None:
        """Add the colours of an annotated image to the histograms.

        Parameters
        ----------
        rgb : (h, w, 3) uint8
        soft : (P, h, w) float32
            Probabilities, background first, summing to 1 over P, or to 0 at pixels without annotation.
        """
        bins = _bins(rgb).ravel()
        for counts, weights in zip(self._counts, (soft[0], soft.sum(0) - soft[0]), strict=True):
            counts += np.bincount(bins, weights.ravel(), _BINS_PER_AXIS**3).reshape(counts.shape)
        shares = _spread(self._counts).reshape(2, -1)
        shares /= np.maximum(shares.sum(1, keepdims=True), 1)
        background, foreground = shares + _MIN_COLOR_SHARE
        self._odds = np.log(foreground / background).clip(-LIMIT, LIMIT).astype(np.float32)

    def odds(self, rgb: Array) -> Array:
        """Return the log-odds of foreground for an image (h, w, 3) uint8, as (h, w) float32 in -LIMIT..LIMIT.

        Colours absent from the references have log-odds 0.
        """
        return self._odds[_bins(rgb)]


def _bins(rgb: Array) -> Array:
    """Return the histogram bin of every pixel, (h, w) int32."""
    lightness, *chroma_planes = cv2.split(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB).astype(np.int32))
    bin_index = lightness * _BINS_PER_AXIS >> 8
    for plane in chroma_planes:
        bin_index = bin_index * _BINS_PER_AXIS + (
            (plane - 128) * _BINS_PER_AXIS // _CHROMA_RANGE + _BINS_PER_AXIS // 2
        ).clip(0, _BINS_PER_AXIS - 1)
    return np.asarray(bin_index)


def _spread(counts: Array) -> Array:
    """Smooth histograms (2, n, n, n) along every colour axis. At the cube's faces the count stays in its bin."""
    for axis in (1, 2, 3):
        padded = np.pad(counts, [(int(a == axis),) * 2 for a in range(4)], mode="edge")
        before, after = (np.take(padded, range(i, i + _BINS_PER_AXIS), axis) for i in (0, 2))
        counts = (1 - 2 * _NEIGHBOR_SHARE) * counts + _NEIGHBOR_SHARE * (before + after)
    return counts
