"""Order of work within a pass: key frames, frames between, and spans labelled in both directions."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from slimecore.array_types import Array
from slimevid.config import RunConfig
from slimevid.frame.features import FrameFeatures
from slimevid.propagators import Traits
from slimevid.session.bidirectional import forward_and_back
from slimevid.session.keyframes import KeyframeStep, interpolate_skipped
from slimevid.session.tracker import Tracker

__all__ = ["Schedule"]


@dataclass(frozen=True, slots=True)
class Schedule:
    """How many frames are labelled together.

    Parameters
    ----------
    keyframe_interval : int
        Every n-th frame is a key frame, at least 1.
    keyframes_per_span : int
        Key frames after which the direction turns. 0 labels forward only.
    """

    keyframe_interval: int = 1
    keyframes_per_span: int = 0

    @classmethod
    def of(cls, config: RunConfig, traits: Traits) -> Schedule:
        """Return the schedule of a configuration, as far as the propagator allows it."""
        interval = config.keyframe_interval if traits.keyframes else 1
        span = config.bidirectional_span
        return cls(interval, max(1, span // interval) if span else 0)

    @property
    def frames_per_span(self) -> int:
        """Frames whose labels become final together."""
        return self.keyframe_interval * (self.keyframes_per_span or 1)

    def label(self, steps: Iterator[KeyframeStep], tracker: Tracker) -> Iterator[tuple[FrameFeatures, Array, bool]]:
        """Label all frames of the steps.

        Parameters
        ----------
        steps : iterator of KeyframeStep
            Of :meth:`Tracker.steps`.
        tracker : Tracker

        Yields
        ------
        (FrameFeatures, (P, h, w) float32, bool)
            Every frame in order, its labels, and True for the last of a span.
        """
        forward = ((step, tracker.track(step), True) for step in steps)
        span = self.keyframes_per_span
        labelled = forward_and_back(steps, span, tracker) if span else forward
        for features, labels, complete in interpolate_skipped(labelled, tracker.last):
            if complete:
                tracker.last = labels, features.region
            yield features, labels, complete
