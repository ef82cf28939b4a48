"""Labels of a window at the frame's own size, along the picture's edges."""

from __future__ import annotations

from slimecore.array_types import Array
from slimecore.imaging.guided_filter import filter_cell, filter_radius, follow_edges
from slimevid.frame.features import FrameState
from slimevid.frame.search_region import Window

__all__ = ["at_full_size"]


def at_full_size(soft: Array, state: FrameState, *, refined: bool) -> tuple[Array, Window]:
    """Labels (P, h, w) of a frame's window at any size, as labels of a window at the frame's size, and which."""
    fusion = state.config.fusion
    radius = filter_radius(fusion.refine if refined else 0, state.frame.size)
    window = state.window.grown(max(1, filter_cell(radius)), state.frame.size)  # as far as the filter sees
    found = window.filled(soft, state.window)
    follow_edges(found, state.frame.rgb[window.box], radius, fusion.refine_eps)
    return found, window
