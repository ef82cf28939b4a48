"""Forward and back: every span of frames is labelled in both directions, and the mean is the result.

What a pass gets wrong it carries on, to one side only; on the way back the memory holds frames from the other side,
and the errors are others. Labels that are carried on to the next span are those of the way forward alone, so a span
needs to know nothing of the frames after it, and what is remembered stays bounded. Record 31 says what it is worth.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Protocol

import numpy as np

from slimecore.array_types import Array
from slimevid.frame.features import FrameFeatures
from slimevid.motion.composition import compose_flows, stepwise_flow
from slimevid.motion.flows import Flow
from slimevid.session.prefetch import prefetch

__all__ = ["Tracker", "forward_and_back", "reversed_states"]


class Tracker(Protocol):
    """What labels frames that follow each other."""

    def track(self, state: FrameFeatures) -> Array:
        """Label the next frame and carry it on: (P, h, w) float32 of its window, summing to 1 over parts."""
        ...

    def retrace(self, states: Sequence[FrameFeatures]) -> Iterator[Array]:
        """Label frames again, from the last of them, which is where the walker is, back to the first.

        Yields the labels of all but the last, and leaves the walker where it was.
        """
        ...


def forward_and_back(
    states: Iterable[FrameFeatures], span: int, walker: Tracker
) -> Iterator[tuple[FrameFeatures, Array, bool]]:
    """Labels that are the mean of those of both directions.

    Parameters
    ----------
    states : iterable of FrameState
        Frames that follow each other; each is asked for when the one before it is labelled.
    span : int
        After so many of them, and after the last, the walk turns.
    walker : Walker

    Yields
    ------
    (FrameState, (P, h, w) float32, bool)
        Frames in order, their labels, and whether the span ends with this one.
    """
    walked: list[tuple[FrameFeatures, Array]] = []
    for state in states:
        walked.append((state, walker.track(state).astype(np.float16)))
        if len(walked) == span:
            yield from _both(walked, walker)
            walked = []
    if walked:
        yield from _both(walked, walker)


def _both(walked: list[tuple[FrameFeatures, Array]], walker: Tracker) -> Iterator[tuple[FrameFeatures, Array, bool]]:
    states = [state for state, _ in walked]
    for i, back in zip(range(len(walked) - 2, -1, -1), walker.retrace(states), strict=True):
        walked[i] = states[i], ((walked[i][1] + back) / 2).astype(np.float16)
    del states
    while walked:  # what is given is not kept
        state, soft = walked.pop(0)
        yield state, soft.astype(np.float32), not walked


def reversed_states(states: Sequence[FrameFeatures], flow: Flow) -> Iterator[FrameFeatures]:
    """All but the last of some states, from the one before it to the first, as they are met on the way back.

    Parameters
    ----------
    states : sequence of FrameState
        Frames that follow each other, labelled; their ``motion`` is taken over by that of the way back.
    flow : Flow
        Asked in another thread.
    """
    motions = [(state.motion, state.flow_steps) for state in states]

    def pairs() -> Iterator[tuple[int, FrameFeatures]]:
        return ((i, states[i]) for i in range(len(states) - 2, -1, -1))

    def meet(item: tuple[int, FrameFeatures], _before: object) -> None:
        number, state = item
        after, (motion, apart) = states[number + 1], motions[number + 1]
        state.motion, state.flow_steps = None, apart
        if motion is not None and after.window == state.window:
            state.motion = motion[1], motion[0]
        elif motion is not None:
            state.motion = compose_flows(stepwise_flow(state, (after, *reversed(after.skipped_frames)), flow))

    return (state for _, state in prefetch(pairs(), meet))
