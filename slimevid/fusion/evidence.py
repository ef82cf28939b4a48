"""Evidence of several kinds on one frame, combined: first whether a place is any part, then which.

Whether is asked of the probability of the background alone, so neither the answer nor its cost depends on how many
parts a thing was cut into.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box
from slimecore.imaging.resize import resize_soft

__all__ = ["ForegroundCue", "FrameEvidence", "floored_log", "fuse_log_odds", "softmax_parts"]

_LEAST = 1e-8  # with no floor at all, a probability is at least this


class ForegroundCue(NamedTuple):
    """Evidence of one kind on whether places are any part.

    Parameters
    ----------
    ground : (h, w) float32
        Probability of the background.
    weight : float or (h, w) float32
        Of its log-odds.
    """

    background: Array
    weight: Array | float

    def at(self, size: tuple[int, int], box: Box) -> ForegroundCue:
        """In a box of a picture of some size."""
        weight = self.weight if isinstance(self.weight, float) else _placed(self.weight, size, box)
        return ForegroundCue(_placed(self.background, size, box), weight)


@dataclass(frozen=True, slots=True, eq=False)
class FrameEvidence:
    """All evidence on one frame.

    Parameters
    ----------
    learned, carried, read : Cue or None
        Learned parts, labels carried along the flow, and the memory; planes of any sizes.
    against : (h, w) float32 or None
        Log-odds against all parts. What is negative speaks for them, and is no evidence by itself:
        see :mod:`slimevid.fusion.motion_gate`.
    which : (P - 1, H, W) float32
        Log-likelihoods of the parts, by all but the flow. Empty, (0, H, W), where there is one part.
    by_flow : (P - 1, H, W) float32
        The same by the labels carried along the flow.
    """

    learned: ForegroundCue | None
    carried: ForegroundCue | None
    against: Array | None
    part_log_likelihood: Array
    flow_part_log_likelihood: Array
    read: ForegroundCue | None = None

    @property
    def any(self) -> bool:
        """Whether anything is known."""
        return any(cue is not None for cue in (self.learned, self.carried, self.read))

    def at(self, size: tuple[int, int], box: Box) -> FrameEvidence:
        """What is known of whether places are any part, in a box of a picture of some size."""
        cues = (None if cue is None else cue.at(size, box) for cue in (self.learned, self.carried, self.read))
        learned, carried, read = cues
        against = None if self.against is None else _placed(self.against, size, box)
        return FrameEvidence(learned, carried, against, self.part_log_likelihood, self.flow_part_log_likelihood, read)

    def ground(self, floor: float) -> Array:
        """Probability of the background, (h, w) float32, by all cues, which must have one size."""
        known = [cue for cue in (self.learned, self.carried, self.read) if cue is not None]
        against = None if self.against is None else np.maximum(self.against, 0)
        return np.asarray(1 / (1 + np.exp(fuse_log_odds(known, floor, against))))


def fuse_log_odds(cues: Sequence[ForegroundCue], floor: float, against: Array | None = None) -> Array:
    """Log-odds that a place is any part: the weighted sum of what all cues say.

    Parameters
    ----------
    cues : sequence of Cue
        All of one size.
    floor : float
        Share of not knowing mixed into each first: no cue can veto.
    against : (h, w) float32, optional
        Log-odds for the background.

    Returns
    -------
    (h, w) float32
    """
    total = np.zeros(cues[0].background.shape, np.float32)
    half = max(floor / 2, _LEAST)
    for ground, weight in cues:
        mixed = ground * np.float32(1 - floor) + np.float32(half)
        total += np.asarray(cv2.log(np.maximum(np.float32(1 - floor + 2 * half) / mixed - 1, _LEAST))) * weight
    return total if against is None else total - against


def floored_log(parts: Array, floor: float) -> Array:
    """Logarithms of the probabilities (n, h, w) of parts, with `floor` of not knowing mixed in."""
    if not len(parts):
        return parts
    mixed = np.multiply(parts, np.float32(1 - floor), order="C")  # what the memory reads lies place by place
    mixed += np.float32(max(floor / 10, _LEAST))
    flat = mixed.reshape(len(mixed), -1)  # as OpenCV takes it, whose logarithms are twice as fast
    return np.asarray(cv2.log(flat, dst=flat)).reshape(parts.shape)


def softmax_parts(likelihoods: Array) -> Array:
    """Softmax (n, h, w) over parts."""
    if not len(likelihoods):
        return likelihoods
    found = np.exp(likelihoods - likelihoods.max(0))
    found /= found.sum(0)
    return np.asarray(found)


def _placed(plane: Array, size: tuple[int, int], box: Box) -> Array:
    return np.asarray(resize_soft(plane[None], size)[0][box])
