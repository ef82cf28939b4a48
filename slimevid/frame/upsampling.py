"""Bring soft labels of a search region to the frame's size, along image edges."""

from __future__ import annotations

from slimecore.array_types import Array
from slimecore.imaging.guided_filter import filter_radius, filter_support, guided_filter_inplace
from slimevid.frame.features import FrameFeatures
from slimevid.frame.search_region import SearchRegion

__all__ = ["GUIDED_FILTER_EPS", "upsample_to_frame"]

GUIDED_FILTER_EPS = 1e-4
"""Regularisation of the guided filter (He et al., TPAMI 2013), in squared intensity 0..1."""


def upsample_to_frame(soft: Array, features: FrameFeatures, *, filtered: bool) -> tuple[Array, SearchRegion]:
    """Upsample soft labels to the resolution of the frame.

    Parameters
    ----------
    soft : (P, h, w) float32
        Labels of the search region of `features`, at any size.
    features : FrameFeatures
    filtered : bool
        Apply the guided filter with the frame as guide.

    Returns
    -------
    labels : (P, H, W) float32
        Labels of a region at the frame's resolution.
    region : SearchRegion
        That region: the search region, expanded by the support of the filter.
    """
    fusion = features.config.fusion
    radius = filter_radius(fusion.guided_filter_radius if filtered else 0, features.frame.size)
    region = features.region.expanded(max(1, filter_support(radius)), features.frame.size)
    labels = region.paste(soft, features.region)
    guided_filter_inplace(labels, features.frame.rgb[region.box], radius, GUIDED_FILTER_EPS)
    return labels, region
