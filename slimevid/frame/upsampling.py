"""Labels of a window at the frame's own size, along the picture's edges."""

from __future__ import annotations

from slimecore.array_types import Array
from slimecore.imaging.guided_filter import filter_radius, filter_support, guided_filter_inplace
from slimevid.frame.features import FrameFeatures
from slimevid.frame.search_region import SearchRegion

__all__ = ["upsample_to_frame"]

GUIDED_FILTER_EPS = 1e-4
"""Regularisation of the guided filter, in squared intensity 0..1."""


def upsample_to_frame(soft: Array, state: FrameFeatures, *, refined: bool) -> tuple[Array, SearchRegion]:
    """Labels (P, h, w) of a frame's window at any size, as labels of a window at the frame's size, and which."""
    fusion = state.config.fusion
    radius = filter_radius(fusion.guided_filter_radius if refined else 0, state.frame.size)
    window = state.window.expanded(max(1, filter_support(radius)), state.frame.size)  # as far as the filter sees
    found = window.paste(soft, state.window)
    guided_filter_inplace(found, state.frame.rgb[window.box], radius, GUIDED_FILTER_EPS)
    return found, window
