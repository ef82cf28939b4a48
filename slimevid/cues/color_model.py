"""Which colours the parts had on the references, and which the background: odds of every pixel by its colour alone.

Places of the memory's grid compare what a patch looks like; a single pixel's colour is what is left where a part is
thinner than a place. As histograms of the first frame in interactive cutouts (GrabCut, Rother et al., SIGGRAPH 2004);
ours are learned once, from annotations, so they cannot learn from their own errors.
"""

from __future__ import annotations

import cv2
import numpy as np

from slimecore.array_types import Array

__all__ = ["LIMIT", "ColorModel"]

LIMIT = 4.0
"""Largest log-odds of a colour."""
_BINS = 24  # a side of the cube
_REACH = 96  # a and b lie within half of this of grey, but for the most vivid colours
_SHARE = 0.07  # of a bin's count that each of its neighbours along every side gets
_UNSEEN = 2e-5  # share of the pixels that every colour is taken to have


class ColorModel:
    """Histograms of the parts' and the background's colours in CIELAB."""

    def __init__(self) -> None:
        self._counts = np.zeros((2, _BINS, _BINS, _BINS), np.float32)
        self._odds = np.zeros(_BINS**3, np.float32)

    @property
    def nbytes(self) -> int:
        """Bytes held."""
        return self._counts.nbytes + self._odds.nbytes

    def learn(self, rgb: Array, soft: Array) -> None:
        """Count the colours of an annotated picture.

        Parameters
        ----------
        rgb : (h, w, 3) uint8
        soft : (P, h, w) float32
            Labels, background first, summing to 1 over parts, or to 0 where nothing is known.
        """
        bins = _bins(rgb).ravel()
        for counts, weights in zip(self._counts, (soft[0], soft.sum(0) - soft[0]), strict=True):
            counts += np.bincount(bins, weights.ravel(), _BINS**3).reshape(counts.shape)
        shares = _spread(self._counts).reshape(2, -1)
        shares /= np.maximum(shares.sum(1, keepdims=True), 1)
        ground, parts = shares + _UNSEEN
        self._odds = np.log(parts / ground).clip(-LIMIT, LIMIT).astype(np.float32)

    def odds(self, rgb: Array) -> Array:
        """Log-odds (h, w) float32 for a part, within ``LIMIT``, of a picture (h, w, 3) uint8; 0 for unknown colours."""
        return self._odds[_bins(rgb)]


def _bins(rgb: Array) -> Array:
    """Number of every pixel's bin, (h, w) int32."""
    lightness, *opponents = cv2.split(cv2.cvtColor(np.ascontiguousarray(rgb), cv2.COLOR_RGB2LAB).astype(np.int32))
    number = lightness * _BINS >> 8
    for plane in opponents:
        number = number * _BINS + ((plane - 128) * _BINS // _REACH + _BINS // 2).clip(0, _BINS - 1)
    return np.asarray(number)


def _spread(counts: Array) -> Array:
    """Every bin of (2, n, n, n) shared with its neighbours; what would leave the cube stays."""
    for axis in (1, 2, 3):
        padded = np.pad(counts, [(int(a == axis),) * 2 for a in range(4)], mode="edge")
        before, after = (np.take(padded, range(i, i + _BINS), axis) for i in (0, 2))
        counts = (1 - 2 * _SHARE) * counts + _SHARE * (before + after)
    return counts
