"""Solve for the labels of a frame: coarse labels from all evidence, then full resolution where they are uncertain."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box, uncertain_box, union_box
from slimecore.imaging.resize import resize_soft
from slimevid.config import FusionConfig
from slimevid.fusion.evidence import ForegroundCue, FrameEvidence, floored_log, softmax_parts
from slimevid.fusion.motion_gate import DisplayCorrection, add_log_odds_inplace, propagated_log_odds
from slimevid.fusion.part_assignment import FLOW_GAIN, PartFactor, assign_parts, part_boundary_box
from slimevid.motion.composition import StepMotion
from slimevid.motion.warp import resized_sampling_grid, warp_soft

__all__ = ["MaskGrid", "RefinedLogOdds", "coarse_labels", "solve_labels", "uncertain_cells"]

RefinedLogOdds = Callable[[Box, FrameEvidence, Array], Array]
"""Log-odds (h, w) of the foreground by colour and refinement network, given a box, its evidence and its background."""

_UNCERTAIN_FOREGROUND = 0.1  # a cell less sure than 1 minus this of background or foreground is read finely
_UNCERTAIN_PART = 0.3  # a foreground cell whose strongest part has less than 1 minus this is read finely
_MARGIN_SHARE = 0.04  # margin around uncertain pixels, share of the mask's short side
_MIN_EXPONENT = -40.0  # keeps a part's flow factor above 0, so that other evidence can assign it


@dataclass(frozen=True, slots=True)
class MaskGrid:
    """Sizes at which labels of a frame are solved for.

    Parameters
    ----------
    mask : (int, int)
        Rows and columns of soft masks.
    parts : (int, int)
        Rows and columns of the coarser grid of parts.
    """

    mask: tuple[int, int]
    parts: tuple[int, int]


def coarse_labels(evidence: FrameEvidence, size: tuple[int, int], floor: float) -> tuple[Array, Array]:
    """Return the probability of the background at `size`, and the shares of the parts on their grid.

    Parameters
    ----------
    evidence : FrameEvidence
    size : (int, int)
        Rows and columns (h, w).
    floor : float
        Share of the uniform distribution mixed into every cue, 0..1.

    Returns
    -------
    background : (h, w) float32
    parts : (P - 1, H, W) float32
        Summing to 1 over parts. Empty for a single part.
    """
    background = evidence.at(size, (slice(0, size[0]), slice(0, size[1]))).background(floor)
    return background, softmax_parts(evidence.part_log_likelihood + evidence.flow_part_log_likelihood)


def uncertain_cells(evidence: FrameEvidence, size: tuple[int, int], floor: float) -> Array:
    """Return a mask of cells whose label is uncertain.

    Parameters
    ----------
    evidence : FrameEvidence
    size : (int, int)
        Rows and columns (h, w).
    floor : float
        Share of the uniform distribution mixed into every cue, 0..1.

    Returns
    -------
    (h, w) bool
    """
    background, parts = coarse_labels(evidence, size, floor)
    uncertain = np.maximum(background, 1 - background) < 1 - _UNCERTAIN_FOREGROUND
    if len(parts):
        strongest = resize_soft(parts.max(0)[None], background.shape)[0]
        uncertain |= (background < 0.5) & (strongest < 1 - _UNCERTAIN_PART)
    return np.asarray(uncertain)


def solve_labels(
    evidence: FrameEvidence,
    grid: MaskGrid,
    coarse_size: tuple[int, int],
    previous: Array,
    motion: StepMotion | None,
    config: FusionConfig,
    refined: RefinedLogOdds | None = None,
) -> tuple[Array, DisplayCorrection | None]:
    """Solve for soft labels at mask size.

    Pixels outside the uncertain box keep the resized coarse labels.

    Parameters
    ----------
    evidence : FrameEvidence
        With at least one cue.
    grid : MaskGrid
    coarse_size : (int, int)
        Rows and columns of the coarse background.
    previous : (P, h', w') float32
        Propagated labels of the previous frame.
    motion : StepMotion, optional
    config : FusionConfig
    refined : RefinedLogOdds, optional

    Returns
    -------
    labels : (P, h, w) float32
        Probabilities to propagate, summing to 1 over P.
    correction : DisplayCorrection or None
        Log-odds to display in addition.
    """
    size, floor = grid.mask, config.probability_floor
    background, parts = coarse_labels(evidence, coarse_size, floor)
    labels: Array = np.zeros((len(previous), *size), np.float32)
    labels[0] = resize_soft(background[None], size)[0]
    margin = round(_MARGIN_SHARE * min(size))
    box = uncertain_box(np.maximum(labels[0], 1 - labels[0])[None], margin)
    if len(parts):
        parts *= resize_soft(1 - background[None], grid.parts)
        box = union_box([box, part_boundary_box(parts, size, margin)])
    else:
        labels[1] = 1 - labels[0]
    if box is None:
        if len(parts):
            labels[1:] = resize_soft(parts, size)
        return labels, None
    local, maps = evidence.at(size, box), None
    resized = motion is not None and motion.flow.shape[:2] != size
    if motion is not None and local.flow is not None and (resized or len(parts)):
        maps = resized_sampling_grid(motion.flow, size, box)
        if resized:
            # Warp the previous labels at mask size. Through the size of the flow they would be blurred.
            local = replace(local, flow=local.flow._replace(background=warp_soft(previous[:1], maps)[0]))
    foreground = 1 - local.background(floor)
    if len(parts):
        factor = _flow_factor(previous, maps, box, local.flow, floor)
        assign_parts(labels, parts, softmax_parts(evidence.part_log_likelihood), foreground, box, margin, factor)
    else:
        labels[(slice(None), *box)] = 1 - foreground, foreground
    if refined is None:
        return labels, None
    log_odds = refined(box, local, labels[0][box])
    propagated = propagated_log_odds(log_odds, local.background_log_odds, config.motion_gate)
    add_log_odds_inplace(labels, box, propagated)
    return labels, DisplayCorrection(box, log_odds - propagated)


def _flow_factor(
    previous: Array, maps: tuple[Array, Array] | None, box: Box, flow: ForegroundCue | None, floor: float
) -> PartFactor:
    """Return a function that gives a part's flow likelihood in an inner box, from previous labels at mask size."""

    def factor(part: int, inner: Box) -> Array:
        rows, columns = (slice(i.start - b.start, i.stop - b.start) for i, b in zip(inner, box, strict=True))
        if maps is None or flow is None:
            return np.ones((rows.stop - rows.start, columns.stop - columns.start), np.float32)
        warped = warp_soft(previous[1 + part : 2 + part], (maps[0][rows, columns], maps[1][rows, columns]))
        weight = (1 + FLOW_GAIN) * np.broadcast_to(flow.weight, maps[0].shape)[rows, columns]
        return np.asarray(np.exp(np.maximum(floored_log(warped, floor)[0] * weight, _MIN_EXPONENT)))

    return factor
