"""Bring coarse soft labels to the picture's own edges."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from kornia.filters import guided_blur

from slimecore.images import resize_soft

__all__ = ["refine"]


def refine(soft: npt.NDArray[Any], rgb: npt.NDArray[Any], radius: int, eps: float) -> npt.NDArray[Any]:
    """Resize soft labels to the picture and filter them with the picture as guide (He et al., TPAMI 2013).

    Parameters
    ----------
    soft : (P, h, w) float32
        Summing to 1 over parts.
    rgb : (H, W, 3) uint8
    radius : int
        Window radius in pixels of a 480-line picture; 0 only resizes.
    eps : float
        Regularisation in squared intensity 0..1: larger follows edges less.

    Returns
    -------
    (P, H, W) float32
        0..1, summing to 1 over parts.
    """
    size = (int(rgb.shape[0]), int(rgb.shape[1]))
    full = np.array(resize_soft(soft, size))
    if radius == 0:
        return full
    scaled = max(1, round(radius * min(size) / 480))
    box = _undecided_box(full, 2 * scaled)
    if box is None:
        return full
    guide = torch.from_numpy(np.array(rgb[box])).permute(2, 0, 1)[None].float() / 255
    source = torch.from_numpy(np.ascontiguousarray(full[1:, box[0], box[1]]))[None]
    # Coefficients at a quarter of the radius lose nothing that can be seen, and cost a fraction (He and Sun 2015).
    filtered = guided_blur(guide, source, 2 * scaled + 1, eps, subsample=max(1, min(2, scaled // 2), scaled // 4))
    # The filter is linear and keeps constants, so the background is what is left; edges overshoot a little.
    parts = filtered[0].numpy().clip(0, 1)
    total = np.maximum(parts.sum(0), 1)
    full[1:, box[0], box[1]] = parts / total
    full[0, box[0], box[1]] = 1 - parts.sum(0) / total
    return full


def _undecided_box(soft: npt.NDArray[Any], margin: int) -> tuple[slice, slice] | None:
    """Where the filter can change anything: around the pixels that no part surely owns."""
    undecided = soft.max(0) < 0.98
    rows, columns = np.flatnonzero(undecided.any(1)), np.flatnonzero(undecided.any(0))
    if not len(rows):
        return None
    return (
        slice(max(0, int(rows[0]) - margin), int(rows[-1]) + margin + 1),
        slice(max(0, int(columns[0]) - margin), int(columns[-1]) + margin + 1),
    )
