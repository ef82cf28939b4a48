"""Flow between two frames, composed step by step through the frames between them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from slimecore.array_types import Array
from slimevid.frame.features import FrameFeatures
from slimevid.motion.flows import Flow
from slimevid.motion.warp import sampling_grid

__all__ = ["FlowPair", "StepMotion", "bidirectional_flow", "compose_flows", "step_motion"]

FlowPair = tuple[Array, Array]
"""Flow (h, w, 2) float32 from a frame into an earlier one, and from the earlier frame back, in pixels."""


@dataclass(frozen=True, slots=True, eq=False)
class StepMotion:
    """Motion from a labelled frame into the frame that was labelled before.

    Parameters
    ----------
    flow, back : (h, w, 2) float32
        Flow into the earlier frame and back, in pixels of the flow image.
    single_steps : tuple of FlowPair
        Flow of every single step in temporal order, from the first frame after the earlier one on.
    steps : int
        Number of single steps, at least 1.
    """

    flow: Array
    back: Array
    single_steps: tuple[FlowPair, ...] = ()
    steps: int = 1

    def reversed(self) -> StepMotion:
        """Return the motion of the opposite direction."""
        return StepMotion(self.back, self.flow, steps=self.steps)


def bidirectional_flow(flow: Flow, now: Array, before: Array) -> FlowPair | None:
    """Estimate the flow from a frame into an earlier one, and back.

    Parameters
    ----------
    flow : Flow
    now, before : (h, w, 3) uint8

    Returns
    -------
    FlowPair or None
        None if the method gives no flow.
    """
    into = flow(now, before)
    back = None if into is None else flow(before, now)
    return None if into is None or back is None else (into, back)


def step_motion(target: FrameFeatures, earlier: Sequence[FrameFeatures], flow: Flow) -> StepMotion | None:
    """Estimate the motion from a frame into the first of several earlier frames, in the search region of the frame.

    Parameters
    ----------
    target : FrameFeatures
    earlier : sequence of FrameFeatures
        Consecutive frames, at least one. The last is the neighbour of `target`.
    flow : Flow

    Returns
    -------
    StepMotion or None
        None if the method gives no flow.
    """
    images = [e.flow_image if e.region == target.region else target.flow_image_of(e.frame.rgb) for e in earlier]
    pairs = [bidirectional_flow(flow, now, before) for before, now in itertools.pairwise([*images, target.flow_image])]
    steps = tuple(pair for pair in pairs if pair is not None)
    total = compose_flows(steps)
    return None if total is None else StepMotion(*total, steps, len(earlier))


def compose_flows(steps: Sequence[FlowPair]) -> FlowPair | None:
    """Compose consecutive flows to the flow from the last frame into the first, and back.

    Parameters
    ----------
    steps : sequence of FlowPair
        In temporal order.

    Returns
    -------
    FlowPair or None
        None for an empty sequence.
    """
    if not steps:
        return None
    total = steps[0]
    for into, back in steps[1:]:
        total = _compose(into, total[0]), _compose(total[1], back)
    return total


def _compose(first: Array, second: Array) -> Array:
    """Compose two flows (h, w, 2). Outside the image the flow of the border is repeated."""
    resampled = cv2.remap(second, *sampling_grid(first), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(first + resampled)
