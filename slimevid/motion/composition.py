"""Motion between two frames, traced step by step through those between them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import cv2
import numpy as np

from slimecore.array_types import Array
from slimevid.frame.features import FrameFeatures, Motion
from slimevid.motion.flows import Flow
from slimevid.motion.warp import sampling_grid

__all__ = ["bidirectional_flow", "compose_flows", "stepwise_flow"]


def bidirectional_flow(flow: Flow, now: Array, before: Array) -> Motion | None:
    """Flow from this frame into the one before it, and back; None where there is no flow."""
    there = flow(now, before)
    back = None if there is None else flow(before, now)
    return None if there is None or back is None else (there, back)


def stepwise_flow(state: FrameFeatures, earlier: Sequence[FrameFeatures], flow: Flow) -> tuple[Motion, ...]:
    """Flow of every step from the first of some earlier frames to this one, all seen through this one's window.

    Parameters
    ----------
    state : FrameState
    earlier : sequence of FrameState
        Frames that follow each other, the last of them the neighbour of this one; at least one.
    flow : Flow

    Returns
    -------
    tuple of pairs of (h, w, 2) float32
        For every frame after the first: into the one before it, and back. Empty where there is no flow.
    """
    pictures = [one.flow_image if one.window == state.window else state.flow_image_of(one.frame.rgb) for one in earlier]
    steps = [bidirectional_flow(flow, now, before) for before, now in itertools.pairwise([*pictures, state.flow_image])]
    return tuple(step for step in steps if step is not None)


def compose_flows(steps: Sequence[Motion]) -> Motion | None:
    """Flow over some steps, from the last frame into the first, and back; None of none."""
    if not steps:
        return None
    whole = steps[0]
    for there, back in steps[1:]:
        whole = _compose(there, whole[0]), _compose(whole[1], back)
    return whole


def _compose(first: Array, second: Array) -> Array:
    """Flow (h, w, 2) of one motion and then another; what leaves the picture goes on as its border does."""
    then = cv2.remap(second, *sampling_grid(first), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(first + then)
