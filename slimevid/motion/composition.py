"""Compose optical flow over several frames from the flow between neighbouring frames."""

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
    """Estimate the flow from the present image into the previous image, and back.

    Parameters
    ----------
    flow : Flow
    now, before : (h, w, 3) uint8
        Present and previous image, RGB.

    Returns
    -------
    pair of (h, w, 2) float32, or None
        Displacements in pixels: from `now` into `before`, and from `before` into `now`. None if the method gives no
        flow.
    """
    there = flow(now, before)
    back = None if there is None else flow(before, now)
    return None if there is None or back is None else (there, back)


def stepwise_flow(state: FrameFeatures, earlier: Sequence[FrameFeatures], flow: Flow) -> tuple[Motion, ...]:
    """Estimate the flow between neighbouring frames, from the first of `earlier` to the present frame.

    All frames are cropped to the search region of the present frame.

    Parameters
    ----------
    state : FrameFeatures
        The present frame.
    earlier : sequence of FrameFeatures
        At least a single frame. Consecutive frames, the last of them the neighbour of the present frame.
    flow : Flow

    Returns
    -------
    tuple of pairs of (h, w, 2) float32
        For every frame after the first: displacements in pixels into the previous frame, and back. Empty if the method
        gives no flow.
    """
    images = [f.flow_image if f.window == state.window else state.flow_image_of(f.frame.rgb) for f in earlier]
    steps = [bidirectional_flow(flow, now, before) for before, now in itertools.pairwise([*images, state.flow_image])]
    return tuple(step for step in steps if step is not None)


def compose_flows(steps: Sequence[Motion]) -> Motion | None:
    """Compose the flow of consecutive steps: from the last frame into the first, and back.

    Returns
    -------
    pair of (h, w, 2) float32, or None
        Displacements in pixels. None if `steps` is empty.
    """
    if not steps:
        return None
    total = steps[0]
    for there, back in steps[1:]:
        total = _compose(there, total[0]), _compose(total[1], back)
    return total


def _compose(first: Array, second: Array) -> Array:
    """Add to flow `first` the flow `second` at its end points, (h, w, 2) float32.

    Motion that leaves the image continues with the flow at the image's border.
    """
    continued = cv2.remap(second, *sampling_grid(first), cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(first + continued)
