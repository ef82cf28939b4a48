"""Key frames are labelled in full. Labels of the frames between are interpolated along the flow from both sides.

Backbone and memory make up most of a frame's cost, its flow a tenth. So only each n-th frame, the *key frame*, is
labelled in full (``keyframe_interval``), with the motion from the last key frame composed through the frames between.
Each pixel of a frame between takes the labels of both neighbouring key frames, weighted by the reliability of the flow
and by nearness: a surface hidden from one side is often visible from the other. See docs/adr/0035.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box, uncertain_box
from slimecore.imaging.resize import resize_soft
from slimecore.types import Frame
from slimevid.frame.features import FrameFeatures
from slimevid.frame.search_region import SearchRegion, resample_between
from slimevid.motion.composition import FlowPair, StepMotion, compose_flows
from slimevid.motion.warp import FLOW_TOLERANCE, reliability, resized_sampling_grid, sampling_grid, warp_soft

__all__ = ["KeyframeStep", "group_by_keyframe", "interpolate_skipped"]

_MIN_TRUST = 0.02  # if neither side is reliable, both count alike


@dataclass(frozen=True, slots=True, eq=False)
class KeyframeStep:
    """Step from one key frame to the next.

    Parameters
    ----------
    features : FrameFeatures
        Of the later key frame.
    skipped : tuple of FrameFeatures
        Frames between the two key frames, in order.
    motion : StepMotion, optional
        Motion from the later key frame into the earlier one, composed through the skipped frames.
    """

    features: FrameFeatures
    skipped: tuple[FrameFeatures, ...] = ()
    motion: StepMotion | None = None


def group_by_keyframe(
    frames: Iterable[Frame], interval: int, first: int, make_features: Callable[[Frame, int], FrameFeatures]
) -> Iterator[KeyframeStep]:
    """Group frames into key frames, each with the frames between it and the key frame before.

    Parameters
    ----------
    frames : iterable of Frame
        In order, the frames after a key frame. The last one is a key frame.
    interval : int
        Every n-th frame is a key frame, at least 1.
    first : int
        Ordinal of the first key frame.
    make_features : callable(frame, ordinal)
        Called as late as possible.

    Yields
    ------
    KeyframeStep
        Without motion.
    """
    iterator = iter(frames)
    for ordinal in itertools.count(first):
        group = list(itertools.islice(iterator, interval))
        if not group:
            return
        features = make_features(group[-1], ordinal)
        skipped = (FrameFeatures(frame, features.config, None, ordinal, features.region) for frame in group[:-1])
        yield KeyframeStep(features, tuple(skipped))


def interpolate_skipped(
    labelled: Iterable[tuple[KeyframeStep, Array, bool]], before: tuple[Array, SearchRegion]
) -> Iterator[tuple[FrameFeatures, Array, bool]]:
    """Yield the labels of key frames and of the frames between them, in order.

    Parameters
    ----------
    labelled : iterable of (KeyframeStep, (P, h, w) float32, bool)
        Key frames, their labels, and a flag to pass on.
    before : pair of (P, h, w) float32 and SearchRegion
        Labels of the key frame before the first, and their region.

    Yields
    ------
    (FrameFeatures, (P, h, w) float32, bool)
        The flag of a frame between key frames is False.
    """
    for step, labels, flag in labelled:
        if step.skipped:
            earlier = resample_between(*before, step.features.region, (labels.shape[1], labels.shape[2]))
            flows = step.motion.single_steps if step.motion is not None else ()
            for number, features in enumerate(step.skipped, 1):
                yield features, _interpolate(flows, number, len(step.skipped) + 1, earlier, labels), False
        before = labels, step.features.region
        yield step.features, labels, flag


def _interpolate(flows: Sequence[FlowPair], number: int, steps: int, earlier: Array, later: Array) -> Array:
    """Interpolate the labels of the frame `number` steps after the earlier of two key frames that lie `steps` apart."""
    past, future = compose_flows(flows[:number]), compose_flows(flows[number:])
    size = (later.shape[1], later.shape[2])
    views = (
        _KeyframeView.of(earlier, past, number),
        _KeyframeView.of(later, future and future[::-1], steps - number),
    )
    total = views[0].weight + views[1].weight
    everywhere = slice(0, size[0]), slice(0, size[1])
    background = sum(view.weight * view.warped(slice(0, 1), everywhere)[0] for view in views) / total
    labels: Array = np.zeros(later.shape, np.float32)
    labels[0] = 1
    box = uncertain_box(background[None], 0)  # everything outside is background
    if box is not None:
        labels[(0, *box)] = background[box]
        if len(labels) == 2:
            labels[(1, *box)] = 1 - background[box]
        else:
            parts = sum(view.weight[box] * view.warped(slice(1, None), box) for view in views)
            labels[(slice(1, None), *box)] = parts / total[box]
    return labels


@dataclass(frozen=True, slots=True, eq=False)
class _KeyframeView:
    """A key frame as seen from a frame between: labels (P, h, w), sampling grid, weight (h, w)."""

    labels: Array
    maps: tuple[Array, Array] | None
    weight: Array

    @classmethod
    def of(cls, labels: Array, flow: FlowPair | None, steps: int) -> _KeyframeView:
        size = (labels.shape[1], labels.shape[2])
        trust: Array = np.ones(size, np.float32)
        maps = None
        if flow is not None:
            reliable = reliability(*flow, sampling_grid(flow[0]), steps * FLOW_TOLERANCE)
            trust = resize_soft(reliable[None], size)[0]
            maps = resized_sampling_grid(flow[0], size, (slice(0, size[0]), slice(0, size[1])))
        return cls(labels, maps, (trust + np.float32(_MIN_TRUST)) / np.float32(steps))

    def warped(self, parts: slice, box: Box) -> Array:
        """Return the labels of `parts` in a box of the frame between."""
        if self.maps is None:
            return self.labels[(parts, *box)]
        x, y = self.maps
        return warp_soft(self.labels[parts], (x[box], y[box]))
