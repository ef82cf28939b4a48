"""Motion gate: how much of the appearance log-odds is propagated to later frames.

Colour histograms and the refinement network (:mod:`slimevid.refinement.network`) add log-odds to the parts. All of it
is displayed. Only the smaller of appearance and motion is propagated, so that neither cue can reinforce its own errors.
See docs/adr/0033.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box

__all__ = ["DisplayCorrection", "add_log_odds_inplace", "propagated_log_odds", "with_log_odds"]


@dataclass(frozen=True, slots=True, eq=False)
class DisplayCorrection:
    """Log-odds of the foreground that are displayed but not propagated.

    Parameters
    ----------
    box : Box
        Rows and columns of the mask.
    log_odds : (h, w) float32
        Added to all parts in the box.
    """

    box: Box
    log_odds: Array

    def applied_to(self, labels: Array) -> Array:
        """Return a copy of soft labels (P, H, W) with the log-odds added."""
        corrected = labels.copy()
        add_log_odds_inplace(corrected, self.box, self.log_odds)
        return corrected


def propagated_log_odds(appearance: Array, motion: Array | None, gate: float) -> Array:
    """Return the part of the appearance log-odds that motion confirms.

    Parameters
    ----------
    appearance : (h, w) float32
        Log-odds of the foreground by appearance.
    motion : (h, w) float32, optional
        Log-odds of the background by motion. Negative values support the foreground.
    gate : float
        Share of the motion log-odds up to which appearance is propagated, at least 0.

    Returns
    -------
    (h, w) float32
        At least 0.
    """
    if motion is None:
        return np.zeros_like(appearance)
    return np.asarray(np.clip(appearance, 0, gate * np.maximum(-motion, 0)))


def add_log_odds_inplace(soft: Array, box: Box, log_odds: Array) -> None:
    """Add log-odds to all parts in a box of soft labels.

    Parameters
    ----------
    soft : (P, H, W) float32
        Changed in place.
    box : Box
        Rows and columns.
    log_odds : (h, w) float32
        Of the size of the box.
    """
    inside = (slice(None), *box)
    soft[inside] = with_log_odds(soft[inside], log_odds)


def with_log_odds(soft: Array, log_odds: Array) -> Array:
    """Return soft labels (P, h, w) float32 with log-odds (h, w) added to all parts, whose shares among them stay."""
    factor = np.exp(log_odds)
    total = soft[0] + factor * soft[1:].sum(0)
    result = soft * (factor / total)
    result[0] = soft[0] / total
    return np.asarray(result, np.float32)
