"""Final labels of a frame: exclusive part values, and the presence of each part."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box
from slimecore.types import Frame, Parts

__all__ = ["PRESENCE_PIXELS", "FrameResult", "argmax_labels", "coarse_labels", "decide_labels", "top_k_mean"]

_BLOCK_PIXELS = 256
_BACKGROUND_MAJORITY = 0.501  # background probability from which on foreground cannot win, with room for rounding
PRESENCE_PIXELS = 9
"""Pixels with the largest probabilities, whose mean decides the presence of a part."""


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """Labels of one frame.

    Parameters
    ----------
    frame : Frame
    labels : (h, w) uint8
        Part values of the mask, exclusive, at the clip's size.
    presence : (P - 1,) float32
        Mean probability of the strongest pixels of each part, 0..1.
    confidence : (P - 1,) float32
        Mean probability of each part over its own pixels, 0..1. 0 for a part without pixels.
    area : (P - 1,) int64
        Pixels of each part.
    present : (P - 1,) bool
        False for an absent part, which owns no pixel.
    """

    frame: Frame
    labels: npt.NDArray[np.uint8]
    presence: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]
    area: npt.NDArray[np.int64]
    present: npt.NDArray[np.bool_]


def decide_labels(
    frame: Frame, soft: Array, parts: Parts, min_areas: Array, threshold: float, box: Box | None = None
) -> FrameResult:
    """Decide the exclusive labels of a frame, and the presence of each part.

    Parameters
    ----------
    frame : Frame
    soft : (P, h, w) float32
        Probabilities, summing to 1 over P.
    parts : Parts
    min_areas : (P - 1,) int64
        Pixels by which the presence of each part is judged, 1..:data:`PRESENCE_PIXELS`.
    threshold : float
        Presence from which on a part counts as present, 0..1.
    box : Box, optional
        Rows and columns of the frame that `soft` covers, all by default. Everything outside is background.

    Returns
    -------
    FrameResult
    """
    presence = top_k_mean(soft[1:], min_areas)
    present = presence >= threshold
    best, rows = argmax_labels(soft, present)
    owned = np.flatnonzero(rows > 0)  # only foreground pixels, a tenth of the time of all pixels
    owners = rows.ravel()[owned]
    area = np.bincount(owners, minlength=len(parts))
    sums = np.bincount(owners, weights=best.ravel()[owned], minlength=len(parts))
    confidence = (sums / np.maximum(area, 1)).astype(np.float32)
    labels = np.full(frame.size, parts.values[0], np.uint8)
    values: Array = np.zeros(256, np.uint8)
    values[: len(parts)] = parts.values
    labels[box or ...] = cv2.LUT(rows, values)
    return FrameResult(frame, labels, presence, confidence[1:], area[1:], present & (area[1:] > 0))


def argmax_labels(soft: Array, present: npt.NDArray[np.bool_]) -> tuple[Array, npt.NDArray[np.uint8]]:
    """Return the probability and the row of the label of each pixel.

    A pixel is background unless all present parts together are likelier. Then its label is the likeliest part. At
    boundaries between parts each part may be less likely than the background.

    Parameters
    ----------
    soft : (P, h, w) float32
    present : (P - 1,) bool

    Returns
    -------
    best : (h, w) float32
    rows : (h, w) uint8
    """
    # Row by row, since NumPy's argmax over the first axis takes ten times as long.
    background, candidates = soft[0], 1 + present.nonzero()[0]
    best, rows = background.copy(), np.zeros(background.shape, np.uint8)
    for row in candidates:
        more = soft[row] > best
        np.maximum(best, soft[row], out=best)
        np.maximum(rows, more * np.uint8(row), out=rows)
    if len(candidates) > 1:
        y, x = np.nonzero((rows == 0) & (background < _BACKGROUND_MAJORITY))
        parts = soft[candidates[:, None], y, x]
        foreground = parts.sum(0) > background[y, x]
        y, x, parts = y[foreground], x[foreground], parts[:, foreground]
        best[y, x], rows[y, x] = parts.max(0), candidates[parts.argmax(0)]
    return best, rows


def coarse_labels(
    soft: Array, min_shares: Array, threshold: float, dropped: Sequence[int]
) -> tuple[npt.NDArray[np.uint8], bool]:
    """Return the label rows of soft labels at any size, and True if all parts are visible.

    Parameters
    ----------
    soft : (P, h, w) float32
    min_shares : (P - 1,) float64
        Share of the pixels by which the presence of each part is judged.
    threshold : float
        Presence from which on a part counts as visible, 0..1.
    dropped : sequence of int
        Rows that count as background.

    Returns
    -------
    rows : (h, w) uint8
    complete : bool
    """
    rows = argmax_labels(soft, np.ones(len(soft) - 1, np.bool_))[1]
    rows[np.isin(rows, dropped)] = 0
    presence = top_k_mean(soft[1:], np.rint(min_shares * rows.size).clip(1).astype(np.int64))
    return rows, bool((presence >= threshold).all())


def top_k_mean(soft: Array, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Return the mean of the `counts` largest values of each plane (n, h, w), so that no single noisy pixel counts."""
    flat = soft.reshape(soft.shape[0], -1)
    k = min(PRESENCE_PIXELS, flat.shape[1])
    means = np.zeros(len(flat), np.float32)
    for row, (values, count) in enumerate(zip(flat, counts, strict=True)):
        # The k largest values lie in the k blocks with the largest maxima, so the image need not be sorted.
        starts = np.arange(0, len(values), _BLOCK_PIXELS)
        best = np.maximum.reduceat(values, starts)
        chosen = np.argpartition(best, -k)[-k:] if len(best) > k else np.arange(len(best))
        pooled = np.concatenate([values[starts[i] : starts[i] + _BLOCK_PIXELS] for i in chosen])
        means[row] = np.sort(pooled)[-min(int(count), k) :].mean()
    return means
