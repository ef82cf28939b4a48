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
        Sums to 1 over parts: the filter is linear with weights that sum to 1.
    """
    size = (int(rgb.shape[0]), int(rgb.shape[1]))
    full = resize_soft(soft, size)
    if radius == 0:
        return full
    scaled = max(1, round(radius * min(size) / 480))
    guide = torch.from_numpy(np.array(rgb)).permute(2, 0, 1)[None].float() / 255
    source = torch.from_numpy(np.ascontiguousarray(full))[None]
    filtered = guided_blur(guide, source, 2 * scaled + 1, eps, subsample=max(1, scaled // 4))
    return np.asarray(filtered[0].numpy())
