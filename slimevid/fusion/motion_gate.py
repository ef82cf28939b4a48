"""What a place looks like adds to the parts; what motion vouches for of it is carried on, the rest is only shown.

Colours of the references and the completing network (:mod:`slimevid.refinement.network`) see hands, feet and edges
that the
comparison of places misses. Carried on, their errors would feed themselves; but so would those of motion, whose flow
bleeds into what surrounds a thing. Together they are two witnesses whose errors lie in different places: a place is
carried on as a part no surer than the less sure of the two. Record 33 says what that is worth.
"""

from __future__ import annotations

import numpy as np

from slimecore.array_types import Array
from slimecore.imaging.boxes import Box
from slimevid.frame.features import FrameFeatures

__all__ = ["add_log_odds_inplace", "display_labels", "propagated_log_odds", "with_log_odds"]


def propagated_log_odds(looks: Array, motion: Array | None, feedback: float) -> Array:
    """Log-odds for all parts to carry on: what both looks and motion say.

    Parameters
    ----------
    looks : (h, w) float32
        Log-odds for the parts by what places look like.
    motion : (h, w) float32, optional
        Log-odds against the parts by how places move; negative speaks for them.
    feedback : float
        Share of what motion says.

    Returns
    -------
    (h, w) float32
        At least 0.
    """
    if motion is None:
        return np.zeros_like(looks)
    return np.asarray(np.clip(looks, 0, feedback * np.maximum(-motion, 0)))


def add_log_odds_inplace(soft: Array, box: Box, odds: Array) -> None:
    """Add log-odds (h, w) to all parts in a box of labels (P, H, W)."""
    inside = (slice(None), *box)
    soft[inside] = with_log_odds(soft[inside], odds)


def display_labels(soft: Array, state: FrameFeatures) -> Array:
    """Labels (P, h, w) to show of a frame whose labels `soft` are carried on."""
    if state.display_correction is None:
        return soft
    result = soft.copy()
    add_log_odds_inplace(result, *state.display_correction)
    return result


def with_log_odds(soft: Array, odds: Array) -> Array:
    """Labels (P, h, w) float32 with log-odds (h, w) added to all parts; they keep their shares of each other."""
    factor = np.exp(odds)
    total = soft[0] + factor * soft[1:].sum(0)
    result = soft * (factor / total)
    result[0] = soft[0] / total
    return np.asarray(result, np.float32)
