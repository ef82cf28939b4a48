"""Evidence of several kinds on one frame, combined."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Cue", "fuse"]

Array = npt.NDArray[Any]


class Cue(NamedTuple):
    """Evidence of one kind on a frame.

    Parameters
    ----------
    soft : (P, h, w) float32
        Probabilities summing to 1 over parts.
    weight : float or (h, w) float32
        Of their logarithms.
    apart : float or (h, w) float32
        What they weigh more in telling the parts from each other.
    """

    soft: Array
    weight: Array | float
    apart: Array | float = 0.0


def fuse(evidence: Sequence[Cue], floor: float, against: Array | None = None) -> Array:
    """Product of experts: softmax over parts of the weighted sum of log-probabilities.

    What a cue weighs more in telling parts apart moves probability between them only: how likely it is that a place is
    any of them stays what all cues say at their plain weights.

    Parameters
    ----------
    evidence : sequence of Cue
        All of one size.
    floor : float
        Share of the uniform distribution mixed into each first.
    against : (P - 1, h, w) float32, optional
        Log-odds that every part loses to the background.

    Returns
    -------
    (P, h, w) float32, summing to 1 over parts
    """
    shape = evidence[0].soft.shape
    total, logs = np.zeros(shape, np.float32), np.zeros(shape, np.float32)
    apart = np.zeros((shape[0] - 1, *shape[1:]), np.float32)
    several = shape[0] > 2
    flat = logs.reshape(len(logs), -1)  # as OpenCV takes it, whose logarithms are twice as fast
    for soft, weight, more in evidence:
        np.multiply(soft, 1 - floor, out=logs)
        logs += max(floor / len(logs), 1e-8)
        cv2.log(flat, dst=flat)
        if several and np.any(more):
            apart += logs[1:] * more
        logs *= weight
        total += logs
    if against is not None:
        total[1:] -= against
    total -= total.max(0)
    np.exp(total, out=total)
    if several:
        apart -= apart.max(0)
        together = total[1:].sum(0)
        total[1:] *= np.exp(apart, out=apart)
        total[1:] *= together / np.maximum(total[1:].sum(0), 1e-30)
    total *= 1 / total.sum(0)
    return total
