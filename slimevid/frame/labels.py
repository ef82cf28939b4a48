"""From soft labels to what a frame gets: exclusive labels, and per part whether it is there."""

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

_BLOCK = 256
_HALF = 0.501  # of the background, from which on the parts cannot be likelier, but for rounding
PRESENCE_PIXELS = 9  # pixels whose mean probability says whether a part is there


@dataclass(frozen=True, slots=True, eq=False)
class FrameResult:
    """Labels of one frame.

    Parameters
    ----------
    frame : Frame
    labels : (h, w) uint8
        Part values of the mask, exclusive, at the clip's size.
    presence : (P - 1,) float32
        Evidence that each part is in the picture, 0..1: mean probability of its strongest pixels.
    confidence : (P - 1,) float32
        Mean probability of a part over the pixels it got; 0 where it got none.
    area : (P - 1,) int64
        Pixels it got.
    present : (P - 1,) bool
        False: the part is reported absent and owns no pixel.
    """

    frame: Frame
    labels: npt.NDArray[np.uint8]
    presence: npt.NDArray[np.float32]
    confidence: npt.NDArray[np.float32]
    area: npt.NDArray[np.int64]
    present: npt.NDArray[np.bool_]


def decide_labels(
    frame: Frame, soft: Array, parts: Parts, smallest: Array, threshold: float, box: Box | None = None
) -> FrameResult:
    """Decide.

    Parameters
    ----------
    frame : Frame
    soft : (P, h, w) float32
        Summing to 1 over parts.
    box : Box, optional
        What of the frame they cover; around it all is background. The whole frame by default.
    parts : Parts
    smallest : (P - 1,) int64
        Pixels each part is judged by, at most ``STRONGEST``.
    threshold : float
        Presence from which on a part is there.
    """
    presence = top_k_mean(soft[1:], smallest)
    present = presence >= threshold
    best, rows = argmax_labels(soft, present)
    owned = np.flatnonzero(rows > 0)  # few pixels beside the background's; a tenth of the time numbers would take
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
    """Probability (h, w) and row (h, w) of the background or, where all parts there are likelier, of the likeliest.

    Where parts meet, each may be less likely than the background and all together likelier: few places, asked apart.

    Plane by plane: NumPy's argmax over the first axis takes ten times as long.
    """
    ground, there = soft[0], 1 + present.nonzero()[0]
    best, rows = ground.copy(), np.zeros(ground.shape, np.uint8)
    for row in there:
        more = soft[row] > best
        np.maximum(best, soft[row], out=best)
        np.maximum(rows, more * np.uint8(row), out=rows)
    if len(there) > 1:
        y, x = np.nonzero((rows == 0) & (ground < _HALF))
        parts = soft[there[:, None], y, x]
        together = parts.sum(0) > ground[y, x]
        y, x, parts = y[together], x[together], parts[:, together]
        best[y, x], rows[y, x] = parts.max(0), there[parts.argmax(0)]
    return best, rows


def coarse_labels(
    soft: Array, smallest: Array, threshold: float, dropped: Sequence[int]
) -> tuple[npt.NDArray[np.uint8], bool]:
    """Rows (h, w) of the likeliest at any size, and whether all parts are there.

    `smallest` are the shares of the picture that parts are judged by; rows that were `dropped` are background.
    """
    rows = argmax_labels(soft, np.ones(len(soft) - 1, np.bool_))[1]
    rows[np.isin(rows, dropped)] = 0
    presence = top_k_mean(soft[1:], np.rint(smallest * rows.size).clip(1).astype(np.int64))
    return rows, bool((presence >= threshold).all())


def top_k_mean(soft: Array, counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Mean of the largest values of each plane, as many as `counts` says: one noisy pixel is no part."""
    flat = soft.reshape(soft.shape[0], -1)
    most = min(PRESENCE_PIXELS, flat.shape[1])
    found = np.zeros(len(flat), np.float32)
    for row, (values, count) in enumerate(zip(flat, counts, strict=True)):
        # The largest values lie in the blocks with the largest maxima, as many of them: no need to sort the picture.
        starts = np.arange(0, len(values), _BLOCK)
        best = np.maximum.reduceat(values, starts)
        chosen = np.argpartition(best, -most)[-most:] if len(best) > most else np.arange(len(best))
        near = np.concatenate([values[starts[i] : starts[i] + _BLOCK] for i in chosen])
        found[row] = np.sort(near)[-min(int(count), most) :].mean()
    return found
