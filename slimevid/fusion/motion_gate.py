"""Motion gate: how much of the log-odds of colour and refinement network is propagated to later frames.

Colour histograms and the refinement network (:mod:`slimevid.refinement.network`) add log-odds to the parts. All of it
is displayed. Only the smaller of these and of motion is propagated, so that neither can reinforce its own errors.
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


def propagated_log_odds(refined: Array, motion: Array | None, gate: float) -> Array:
    """Return the part of the log-odds of colour and refinement network that motion confirms.

    Parameters
    ----------
    refined : (h, w) float32
        Log-odds of the foreground by colour and refinement network.
    motion : (h, w) float32, optional
        Log-odds of the background by motion, position and further cues. Negative values support the foreground.
    gate : float
        Factor on the support by motion, at least 0.

    Returns
    -------
    (h, w) float32
        At least 0.
    """
    if motion is None:
        return np.zeros_like(refined)
    return np.asarray(np.clip(refined, 0, gate * np.maximum(-motion, 0)))


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
