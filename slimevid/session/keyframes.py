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
from dataclasses import dataclass

import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box, uncertain_box
from slimecore.imaging.resize import resize_soft
from slimecore.types import Frame
from slimevid.frame.features import FrameFeatures, Motion
from slimevid.frame.search_region import SearchRegion, resample_between
from slimevid.motion.composition import compose_flows
from slimevid.motion.warp import FLOW_TOLERANCE, reliability, resized_sampling_grid, sampling_grid, warp_soft

__all__ = ["Labelled", "group_by_keyframe", "interpolate_skipped"]

Labelled = tuple[FrameFeatures, Array, bool]
_LEAST_TRUST = 0.02  # where neither side can be trusted, both count


def group_by_keyframe(
    frames: Iterable[Frame], every: int, first: int, make: Callable[[Frame, int], FrameFeatures]
) -> Iterator[FrameFeatures]:
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
        state.skipped_frames = tuple(FrameFeatures(one, state.config, None, number, state.window) for one in run[:-1])
        yield state


def interpolate_skipped(labelled: Iterable[Labelled], before: tuple[Array, SearchRegion]) -> Iterator[Labelled]:
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
        if state.skipped_frames:
            earlier = resample_between(*before, state.window, (soft.shape[1], soft.shape[2]))
            for number, one in enumerate(state.skipped_frames, 1):
                yield one, _from_both(state, number, earlier, soft), False
        before = soft, state.window
        yield state, soft, flag


def _from_both(state: FrameFeatures, number: int, earlier: Array, later: Array) -> Array:
    """Labels of the frame `number` steps after one key frame, and before `state`, the next."""
    past, future = compose_flows(state.step_flows[:number]), compose_flows(state.step_flows[number:])
    size, left = (later.shape[1], later.shape[2]), len(state.skipped_frames) + 1 - number
    sides = (
        _KeyframeView.of(earlier, past, number, state),
        _KeyframeView.of(later, future and future[::-1], left, state),
    )
    total = sides[0].weight + sides[1].weight
    everything = slice(0, size[0]), slice(0, size[1])
    ground = sum(side.weight * side.planes(slice(0, 1), everything)[0] for side in sides) / total
    found: Array = np.zeros(later.shape, np.float32)
    found[0] = 1
    box = uncertain_box(ground[None], 0)  # elsewhere it is background
    if box is not None:
        found[(0, *box)] = ground[box]
        if len(found) == 2:
            found[(1, *box)] = 1 - ground[box]
        else:
            parts = sum(side.weight[box] * side.planes(slice(1, None), box) for side in sides)
            found[(slice(1, None), *box)] = parts / total[box]
    return found


@dataclass(frozen=True, slots=True, eq=False)
class _KeyframeView:
    """What one key frame says: labels (P, h, w), where they come from (h, w), and how much they count (h, w)."""

    labels: Array
    maps: tuple[Array, Array] | None
    weight: Array

    @classmethod
    def of(cls, labels: Array, motion: Motion | None, steps: int, state: FrameFeatures) -> _KeyframeView:
        size = (labels.shape[1], labels.shape[2])
        trust: Array = np.ones(size, np.float32)
        maps = None
        if motion is not None:
            reliable = reliability(*motion, sampling_grid(motion[0]), steps * FLOW_TOLERANCE)
            trust = resize_soft(reliable[None], size)[0]
            maps = resized_sampling_grid(motion[0], size, (slice(0, size[0]), slice(0, size[1])))
        return cls(labels, maps, (trust + np.float32(_LEAST_TRUST)) / np.float32(steps))

    def planes(self, which: slice, box: Box) -> Array:
        """Some of the labels in a box of the frame between."""
        if self.maps is None:
            return self.labels[(which, *box)]
        x, y = self.maps
        return warp_soft(self.labels[which], (x[box], y[box]))
