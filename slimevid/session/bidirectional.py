"""Label every span of frames in both directions and average the results.

A pass carries its errors on to one side only. On the way back the memory holds frames of the other side, and the errors
differ. Labels propagated to the next span are those of the forward pass alone, so a span depends on no later frame and
the memory stays bounded. See docs/adr/0031.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from slimecore.array_types import Array
from slimevid.motion.composition import step_motion
from slimevid.motion.flows import Flow
from slimevid.session.keyframes import KeyframeStep
from slimevid.session.prefetch import prefetch

__all__ = ["TwoWayTracker", "forward_and_back", "reversed_steps"]


class TwoWayTracker(Protocol):
    """Label consecutive key frames, and go back over them."""

    def track(self, step: KeyframeStep) -> Array:
        """Label the next key frame and propagate its labels: (P, h, w) float32, summing to 1 over P."""
        ...

    def retrace(self, steps: Sequence[KeyframeStep]) -> Iterator[Array]:
        """Label key frames again, from the last, which was labelled just now, back to the first.

        Yields the labels of all but the last, and leaves the state as it was.
        """
        ...


def forward_and_back(
    steps: Iterable[KeyframeStep], span: int, tracker: TwoWayTracker
) -> Iterator[tuple[KeyframeStep, Array, bool]]:
    """Yield labels averaged over both directions.

    Parameters
    ----------
    steps : iterable of KeyframeStep
        Consecutive. Each is requested after the one before it was labelled.
    span : int
        Key frames after which the direction turns. It also turns after the last.
    tracker : TwoWayTracker

    Yields
    ------
    (KeyframeStep, (P, h, w) float32, bool)
        Key frames in order, their labels, and True for the last of a span.
    """
    labelled: list[tuple[KeyframeStep, Array]] = []
    for step in steps:
        labelled.append((step, tracker.track(step).astype(np.float16)))
        if len(labelled) == span:
            yield from _averaged(labelled, tracker)
            labelled = []
    if labelled:
        yield from _averaged(labelled, tracker)


def _averaged(
    labelled: list[tuple[KeyframeStep, Array]], tracker: TwoWayTracker
) -> Iterator[tuple[KeyframeStep, Array, bool]]:
    steps = [step for step, _ in labelled]
    for i, backward in zip(range(len(labelled) - 2, -1, -1), tracker.retrace(steps), strict=True):
        labelled[i] = steps[i], ((labelled[i][1] + backward) / 2).astype(np.float16)
    del steps
    while labelled:  # frees each frame once yielded
        step, labels = labelled.pop(0)
        yield step, labels.astype(np.float32), not labelled


def reversed_steps(steps: Sequence[KeyframeStep], flow: Flow) -> Iterator[KeyframeStep]:
    """Yield all but the last of labelled steps in reverse order, with the motion of the way back.

    Parameters
    ----------
    steps : sequence of KeyframeStep
        Consecutive.
    flow : Flow
        Used in another thread.

    Yields
    ------
    KeyframeStep
        Its motion goes into the key frame after it.
    """

    def turn(pair: tuple[KeyframeStep, KeyframeStep], _previous: object) -> tuple[KeyframeStep, KeyframeStep]:
        step, after = pair
        motion = after.motion
        if motion is not None and after.features.region == step.features.region:
            motion = motion.reversed()
        elif motion is not None:
            motion = step_motion(step.features, (after.features, *reversed(after.skipped)), flow)
        return KeyframeStep(step.features, step.skipped, motion), after

    pairs = ((steps[i], steps[i + 1]) for i in range(len(steps) - 2, -1, -1))
    return (step for step, _ in prefetch(pairs, turn))
