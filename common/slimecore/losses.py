"""Losses of SLiMe (Khani et al., ICLR 2024, section 3.2), on soft targets and with an ignore weight.

Targets are area fractions of each part in each cell, so thin parts and borders keep their share of a coarse grid.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["class_weights", "cross_entropy", "squared_error"]


def class_weights(targets: Tensor, valid: Tensor, power: float = 0.5) -> Tensor:
    """Weight of each part against imbalance: ``(mean area / area) ** power``, 0 for parts that are absent.

    Parameters
    ----------
    targets : (V, P, h, w) float tensor
        Area fractions, summing to 1 where valid.
    valid : (V, 1, h, w) float tensor
        1 where the cell counts, 0 where it is ignored.
    power : float
        0 counts pixels, 1 counts parts alike.

    Returns
    -------
    (P,) float tensor
    """
    area = (targets * valid).sum((0, 2, 3))
    present = area > 0
    weights = torch.where(present, (area[present].mean() / area.clamp(min=1e-9)) ** power, torch.zeros_like(area))
    return weights * present.sum() / weights.sum()


def cross_entropy(probabilities: Tensor, targets: Tensor, valid: Tensor, weights: Tensor) -> Tensor:
    """Class-weighted cross-entropy, mean over valid cells.

    Parameters
    ----------
    probabilities, targets : (V, P, h, w) float tensors
    valid : (V, 1, h, w) float tensor
    weights : (P,) float tensor

    Returns
    -------
    () float tensor
    """
    weighted = targets * weights[:, None, None] * valid
    return -(weighted * probabilities.clamp(min=1e-6).log()).sum() / weighted.sum().clamp(min=1e-9)


def squared_error(was: Tensor, targets: Tensor, valid: Tensor) -> Tensor:
    """SLiMe's WAS term: squared error summed over parts, mean over valid cells.

    Parameters
    ----------
    was, targets : (V, P, h, w) float tensors
    valid : (V, 1, h, w) float tensor

    Returns
    -------
    () float tensor
    """
    return ((was - targets) ** 2 * valid).sum() / valid.sum().clamp(min=1.0)
