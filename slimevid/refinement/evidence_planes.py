"""Input channels of the refinement network, made from the evidence of a frame."""

from __future__ import annotations

import numpy as np

from slimecore.array_types import Array
from slimevid.config import FusionConfig
from slimevid.cues.background_motion import MAX_LOG_ODDS
from slimevid.fusion.evidence import ForegroundCue, FrameEvidence
from slimevid.refinement.network import INPUT_CHANNELS

__all__ = ["evidence_planes"]

_MIN_MOTION = -0.5  # the network was trained with motion evidence for a part cut off at this share of the limit


def evidence_planes(evidence: FrameEvidence, background: Array, color: Array, config: FusionConfig) -> Array:
    """Stack the input channels of the refinement network.

    A missing cue repeats the fused foreground. Its trust, and missing motion, are 0.

    Parameters
    ----------
    evidence : FrameEvidence
        All maps of one size (h, w).
    background : (h, w) float32
        Probability of the background by all cues.
    color : (h, w) float32
        Log-odds of the foreground by colour.
    config : FusionConfig

    Returns
    -------
    (7, h, w) float32
        Channels as :data:`slimevid.refinement.network.INPUT_CHANNELS`.
    """
    foreground: Array = 1 - background

    def probability(cue: ForegroundCue | None) -> Array:
        return foreground if cue is None else 1 - cue.background

    flow, motion_limit = evidence.flow, config.background_motion_weight * MAX_LOG_ODDS
    planes: Array = np.zeros((len(INPUT_CHANNELS), *foreground.shape), np.float32)
    planes[1], planes[2], planes[3] = (probability(c) for c in (evidence.memory, evidence.appearance, flow))
    planes[4] = flow.weight / config.flow_weight if flow is not None and config.flow_weight else 0.0
    if evidence.background_log_odds is not None and motion_limit:
        planes[5] = np.clip(evidence.background_log_odds / motion_limit, _MIN_MOTION, 1)
    planes[0] = foreground / (foreground + np.exp(-(config.color_weight * color)) * background)
    planes[6] = color
    return planes
