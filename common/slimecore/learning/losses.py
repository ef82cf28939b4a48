"""Losses of SLiMe (Khani et al., ICLR 2024, section 3.2), with an ignore label.

Published form, for the faithful mode: hard targets ``rows``, -1 = ignore. Probe mode takes soft targets, area fractions
of each part in each cell, so that thin parts and borders keep their share of a coarse grid.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "class_weights",
    "cross_entropy",
    "diffusion_loss",
    "published_cross_entropy",
    "published_weights",
    "squared_error",
    "was_error",
]


def published_weights(rows: Tensor, parts: int) -> Tensor:
    """SLiMe's class weights of each picture: ``foreground / pixels of the part``, 1 for the background, 0 if absent.

    Parameters
    ----------
    rows : (B, h, w) int tensor
        -1 = ignore.
    parts : int

    Returns
    -------
    (B, parts) float tensor
    """
    counts = torch.stack([(rows == part).sum((1, 2)) for part in range(parts)], 1).float()
    foreground = counts[:, 1:].sum(1, keepdim=True)
    weights = torch.where(counts > 0, foreground / counts.clamp(min=1), 0.0)
    return torch.cat([torch.ones_like(weights[:, :1]), weights[:, 1:]], 1)


def published_cross_entropy(logits: Tensor, rows: Tensor) -> Tensor:
    """SLiMe's first loss: class-weighted cross-entropy of the averaged cross-attention logits, mean over pictures.

    Parameters
    ----------
    logits : (B, parts, h, w) float tensor
    rows : (B, h, w) int tensor
        -1 = ignore; a picture that is all ignored counts as 0.

    Returns
    -------
    () float tensor
    """
    weights = published_weights(rows, logits.shape[1])
    each = functional.cross_entropy(logits, rows, ignore_index=-1, reduction="none")
    pixel = torch.gather(weights, 1, rows.clamp(min=0).flatten(1)).view_as(each) * (rows >= 0)
    return ((each * pixel).sum((1, 2)) / pixel.sum((1, 2)).clamp(min=1e-9)).mean()


def was_error(was: Tensor, rows: Tensor) -> Tensor:
    """SLiMe's second loss: squared error of WAS against the hard mask, summed over parts, mean over pixels, pictures.

    Parameters
    ----------
    was : (B, parts, h, w) float tensor
    rows : (B, h, w) int tensor
        -1 = ignore; a picture that is all ignored counts as 0.

    Returns
    -------
    () float tensor
    """
    targets = functional.one_hot(rows.clamp(min=0), was.shape[1]).permute(0, 3, 1, 2)
    known = rows >= 0
    each = (was - targets).square().sum(1) * known
    return (each.sum((1, 2)) / known.sum((1, 2)).clamp(min=1)).mean()


def diffusion_loss(conditional: Tensor, unconditional: Tensor, target: Tensor, guidance: float) -> Tensor:
    """SLiMe's third loss: ``mean((u + s (c - u) - target)^2)``.

    Parameters
    ----------
    conditional, unconditional, target : (B, c, h, w) float tensors
        Predictions under the learned and the neutral prompt, and what a perfect UNet would answer.
    guidance : float
        s. At 1 this is the plain Stable Diffusion loss the paper writes; at the code's 100 it ties c to u.

    Returns
    -------
    () float32 tensor
    """
    c, u = conditional.float(), unconditional.float()  # 100 (c - u) leaves half precision
    return (u + guidance * (c - u) - target.float()).square().mean()


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
