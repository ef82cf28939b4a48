"""Evidence of a frame: cues for the foreground, and log-likelihoods of the parts.

The foreground is decided from the probability of the background alone. Neither the decision nor its cost depends on the
number of parts that an object was divided into.
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

_MIN_PROBABILITY = 1e-8  # keeps the logarithm finite when the floor is 0


class ForegroundCue(NamedTuple):
    """Evidence of a single cue for background against foreground.

    Parameters
    ----------
    background : (h, w) float32
        Probability of the background.
    weight : float or (h, w) float32
        Weight of the log-odds.
    """

    background: Array
    weight: Array | float

    def at(self, size: tuple[int, int], box: Box) -> ForegroundCue:
        """Return the cue resized to `size` = ``(h, w)`` and cropped to a box."""
        weight = self.weight if isinstance(self.weight, float) else _crop(self.weight, size, box)
        return ForegroundCue(_crop(self.background, size, box), weight)


@dataclass(frozen=True, slots=True, eq=False)
class FrameEvidence:
    """All evidence of a frame.

    Parameters
    ----------
    appearance, flow, memory : ForegroundCue or None
        Learned parts, flow-warped labels and memory read-out. Their maps may differ in size.
    background_log_odds : (h, w) float32 or None
        Log-odds of the background by motion and position. Negative values support the parts, yet only through the
        motion gate (:mod:`slimevid.fusion.motion_gate`).
    part_log_likelihood : (P - 1, H, W) float32
        Log-likelihoods of the parts by all cues but the flow. Empty, ``(0, H, W)``, for a single part.
    flow_part_log_likelihood : (P - 1, H, W) float32
        Log-likelihoods of the parts by the flow-warped labels.
    """

    appearance: ForegroundCue | None
    flow: ForegroundCue | None
    background_log_odds: Array | None
    part_log_likelihood: Array
    flow_part_log_likelihood: Array
    memory: ForegroundCue | None = None

    @property
    def cues(self) -> tuple[ForegroundCue, ...]:
        """Present cues for the foreground."""
        return tuple(cue for cue in (self.appearance, self.flow, self.memory) if cue is not None)

    def at(self, size: tuple[int, int], box: Box) -> FrameEvidence:
        """Return the foreground evidence resized to `size` = ``(h, w)`` and cropped to a box."""
        resized = (None if cue is None else cue.at(size, box) for cue in (self.appearance, self.flow, self.memory))
        appearance, flow, memory = resized
        log_odds = None if self.background_log_odds is None else _crop(self.background_log_odds, size, box)
        return FrameEvidence(
            appearance, flow, log_odds, self.part_log_likelihood, self.flow_part_log_likelihood, memory
        )

    def background(self, floor: float) -> Array:
        """Return the probability of the background, (h, w) float32, by all cues.

        Parameters
        ----------
        floor : float
            Share of the uniform distribution mixed into every cue, 0..1.
        """
        against = None if self.background_log_odds is None else np.maximum(self.background_log_odds, 0)
        return np.asarray(1 / (1 + np.exp(fuse_log_odds(self.cues, floor, against))))


def fuse_log_odds(cues: Sequence[ForegroundCue], floor: float, against: Array | None = None) -> Array:
    """Return the log-odds of the foreground: the weighted sum over all cues.

    Parameters
    ----------
    cues : sequence of ForegroundCue
        At least one. All of one size (h, w).
    floor : float
        Share of the uniform distribution mixed into every cue, 0..1, so that no cue can veto the others.
    against : (h, w) float32, optional
        Log-odds of the background, subtracted.

    Returns
    -------
    (h, w) float32
    """
    total = np.zeros(cues[0].background.shape, np.float32)
    half = max(floor / 2, _MIN_PROBABILITY)
    for background, weight in cues:
        mixed = background * np.float32(1 - floor) + np.float32(half)
        odds = np.maximum(np.float32(1 - floor + 2 * half) / mixed - 1, _MIN_PROBABILITY)
        total += np.asarray(cv2.log(odds)) * weight
    return total if against is None else total - against


def floored_log(parts: Array, floor: float) -> Array:
    """Return logarithms of part probabilities (n, h, w), mixed with a uniform share `floor` / 10 for each part."""
    if not len(parts):
        return parts
    mixed = np.multiply(parts, np.float32(1 - floor), order="C")  # memory read-outs are stored cell by cell
    mixed += np.float32(max(floor / 10, _MIN_PROBABILITY))
    flat = mixed.reshape(len(mixed), -1)  # two axes as OpenCV expects, whose logarithm is twice as fast
    return np.asarray(cv2.log(flat, dst=flat)).reshape(parts.shape)


def softmax_parts(likelihoods: Array) -> Array:
    """Return the softmax over parts of log-likelihoods (n, h, w)."""
    if not len(likelihoods):
        return likelihoods
    exponentials = np.exp(likelihoods - likelihoods.max(0))
    exponentials /= exponentials.sum(0)
    return np.asarray(exponentials)


def _crop(values: Array, size: tuple[int, int], box: Box) -> Array:
    return np.asarray(resize_soft(values[None], size)[0][box])
