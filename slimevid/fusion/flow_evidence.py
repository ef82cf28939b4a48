"""Evidence from motion: flow-warped labels, their reliability, and log-odds of the background."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.resize import resize_labels, resize_soft
from slimevid.config import FusionConfig
from slimevid.cues.background_motion import background_log_odds, residual_motion
from slimevid.cues.spatial_prior import all_parts_visible, distance_penalty, running_max_area
from slimevid.fusion.soft_labels import LabelWarper, TwoLevelLabels
from slimevid.motion.composition import StepMotion
from slimevid.motion.warp import FLOW_TOLERANCE, reliability

__all__ = ["FlowEvidence", "flow_evidence", "position_evidence"]

_NEARBY_SIGMA = 0.04  # standard deviation of the blur of nearby parts, share of the short side
_BACKGROUND_CONFIDENCE = 0.9  # pixels the background motion is fitted to


@dataclass(frozen=True, slots=True, eq=False)
class FlowEvidence:
    """Evidence that motion gives of a frame.

    Parameters
    ----------
    labels : TwoLevelLabels
        Previous labels, warped to the frame.
    trust : (h, w) float32
        Reliability of the flow, 0..1.
    nearby_parts : (P - 1, h / 4, w / 4) float32 or None
        Blurred warped parts. None for a single part.
    background_log_odds : (h, w) float32 or None
        Log-odds of the background. Negative values support the parts.
    """

    labels: TwoLevelLabels
    trust: Array
    nearby_parts: Array | None
    background_log_odds: Array | None

    def with_log_odds(self, further: Array | None) -> FlowEvidence:
        """Return the evidence with further log-odds (h, w) of the background added, if any."""
        if further is None:
            return self
        total = further if self.background_log_odds is None else self.background_log_odds + further
        return replace(self, background_log_odds=total)


def flow_evidence(
    warper: LabelWarper, motion: StepMotion, labels: TwoLevelLabels, config: FusionConfig
) -> FlowEvidence:
    """Warp the previous labels, and judge all pixels by their motion.

    Parameters
    ----------
    warper : LabelWarper
        Of `motion`.
    motion : StepMotion
    labels : TwoLevelLabels
        Of the previous frame.
    config : FusionConfig

    Returns
    -------
    FlowEvidence
    """
    trust = reliability(motion.flow, motion.back, warper.maps, motion.steps * FLOW_TOLERANCE)
    warped = warper.warp(labels)
    size = (motion.flow.shape[0], motion.flow.shape[1])
    nearby = _nearby_parts(warped.parts, size) if len(warped.parts) else None
    log_odds = None
    if config.background_motion_weight:
        residual = residual_motion(motion.flow, np.where(warped.background > _BACKGROUND_CONFIDENCE, trust, 0))
        if residual is not None:
            nearest = np.zeros(size, np.uint8)
            if nearby is not None:
                nearest = resize_labels(nearby.argmax(0).astype(np.uint8), size)
            weight = config.background_motion_weight
            log_odds = weight * background_log_odds(residual, warped.background, nearest, trust)
    return FlowEvidence(warped, trust, nearby, log_odds)


def position_evidence(
    labels: TwoLevelLabels, region_pixels: int, areas: Array, config: FusionConfig
) -> tuple[Array | None, Array]:
    """Penalise positions far from the warped parts, while all parts are visible.

    Parameters
    ----------
    labels : TwoLevelLabels
        Previous labels, warped to the frame.
    region_pixels : int
        Pixels of the frame in the search region.
    areas : (P - 1,) float64
        Recent areas of the parts, in pixels of the frame.
    config : FusionConfig

    Returns
    -------
    penalty : (h, w) float32 or None
        Log-odds of the background. None if a part may have disappeared.
    areas : (P - 1,) float64
        Updated areas.
    """
    foreground = labels.background < 0.5
    parts = labels.parts > 0.5 if len(labels.parts) else foreground[None]
    visible = parts.sum((1, 2)) * (region_pixels / parts[0].size)
    areas = running_max_area(visible, areas)
    if not all_parts_visible(visible, areas):
        return None, areas
    return distance_penalty(foreground, config.search_radius), areas


def _nearby_parts(parts: Array, size: tuple[int, int]) -> Array:
    """Blur the parts (P - 1, H, W) at a quarter of `size`."""
    quarter = (-(-size[0] // 4), -(-size[1] // 4))
    resized = resize_soft(parts, quarter)
    return np.stack([cv2.GaussianBlur(part, (0, 0), _NEARBY_SIGMA * min(quarter)) for part in resized])
