"""Frames between those that are labelled in full: they take their labels from both sides, along the flow.

Most of what a frame costs is asking the network and the memory what it shows; its flow costs a tenth. So one frame in
``key_every``, the *key frame*, is labelled in full, with the motion since the last one traced through the frames
between. These take, at every pixel, what the key frames before and after them say, each the more the better the flow
from there can be trusted and the nearer it is: what is hidden from one side is often seen from the other. They are as
good as the key frames themselves; record 35 says so in figures.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.images import resize_soft
from slimecore.types import Frame
from slimevid.state import FrameState
from slimevid.tracing import over
from slimevid.warp import reliability, targets, targets_in, warp_soft
from slimevid.window import Window, seen_through

__all__ = ["Labelled", "filled_in", "key_states"]

Array = npt.NDArray[Any]
Labelled = tuple[FrameState, Array, bool]
_LEAST_TRUST = 0.02  # where neither side can be trusted, both count


def key_states(
    frames: Iterable[Frame], every: int, first: int, make: Callable[[Frame, int], FrameState]
) -> Iterator[FrameState]:
    """Key frames, each with the frames between it and the one before it.

    Parameters
    ----------
    frames : iterable of Frame
        In order, after a key frame; the last is one.
    every : int
        One in so many is.
    first : int
        Number of the first.
    make : callable(frame, number)
        What is known of one; called as late as can be.
    """
    iterator = iter(frames)
    for number in itertools.count(first):
        run = list(itertools.islice(iterator, every))
        if not run:
            return
        state = make(run[-1], number)
        state.between = tuple(FrameState(one, state.config, None, number, state.window) for one in run[:-1])
        yield state


def filled_in(labelled: Iterable[Labelled], before: tuple[Array, Window]) -> Iterator[Labelled]:
    """Labels of key frames with those of the frames between them, in order.

    Parameters
    ----------
    labelled : iterable of (FrameState, (P, h, w) float32, bool)
        Key frames, their labels, and a flag that is handed on. Frames between one and the key frame before it are its
        ``between``, the motion its ``steps``.
    before : pair of (P, h, w) float32 and Window
        Labels of the frame before all these, and of which window they are.

    Yields
    ------
    (FrameState, (P, h, w) float32, bool)
        The flag of frames between is False.
    """
    for state, soft, flag in labelled:
        if state.between:
            earlier = seen_through(*before, state.window, (soft.shape[1], soft.shape[2]))
            for number, one in enumerate(state.between, 1):
                yield one, _from_both(state, number, earlier, soft), False
        before = soft, state.window
        yield state, soft, flag


def _from_both(state: FrameState, number: int, earlier: Array, later: Array) -> Array:
    """Labels of the frame `number` steps after one key frame, and before `state`, the next."""
    past, future = over(state.steps[:number]), over(state.steps[number:])
    sides = ((earlier, past, number), (later, future and future[::-1], len(state.between) + 1 - number))
    size, tolerance = (later.shape[1], later.shape[2]), state.config.fusion.flow_tolerance
    found: Array = np.zeros(later.shape, np.float32)
    total: Array = np.zeros(size, np.float32)
    for labels, motion, steps in sides:
        trust: Array = np.ones(size, np.float32)
        if motion is not None:
            reliable = reliability(*motion, targets(motion[0]), tolerance * steps)
            trust = resize_soft(reliable[None], size)[0]
            labels = warp_soft(labels, targets_in(motion[0], size, (slice(0, size[0]), slice(0, size[1]))))
        weight = (trust + _LEAST_TRUST) / steps
        found += weight * labels
        total += weight
    return np.asarray(found / total)
