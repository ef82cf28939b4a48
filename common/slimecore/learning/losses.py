"""Losses of SLiMe (Khani et al., ICLR 2024, section 3.2), with an ignore label.

The faithful mode has the published hard targets ``rows``, with -1 = ignore. The probe mode has soft targets: the area
fraction of each part in each grid cell, so that thin parts and boundaries count on a coarse grid.
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
    "was_error",
]


def published_weights(rows: Tensor, parts: int) -> Tensor:
    """Compute SLiMe's class weights of each image.

    They are ``foreground pixels / pixels of the part``, 0 for an absent part, and 1 for the background.

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
    """Compute SLiMe's first loss: class-weighted cross-entropy of the cross-attention logits, mean over images.

    Parameters
    ----------
    logits : (B, parts, h, w) float tensor
    rows : (B, h, w) int tensor
        -1 = ignore. An image without labels has loss 0.

    Returns
    -------
    () float tensor
    """
    weights = published_weights(rows, logits.shape[1])
    loss = functional.cross_entropy(logits, rows, ignore_index=-1, reduction="none")
    pixel_weights = torch.gather(weights, 1, rows.clamp(min=0).flatten(1)).view_as(loss) * (rows >= 0)
    return ((loss * pixel_weights).sum((1, 2)) / pixel_weights.sum((1, 2)).clamp(min=1e-9)).mean()


def was_error(was: Tensor, rows: Tensor) -> Tensor:
    """Compute SLiMe's second loss: squared error of WAS, summed over parts, mean over pixels, then over images.

    Parameters
    ----------
    was : (B, parts, h, w) float tensor
    rows : (B, h, w) int tensor
        -1 = ignore. An image without labels has loss 0.

    Returns
    -------
    () float tensor
    """
    targets = functional.one_hot(rows.clamp(min=0), was.shape[1]).permute(0, 3, 1, 2)
    labelled = rows >= 0
    error = (was - targets).square().sum(1) * labelled
    return (error.sum((1, 2)) / labelled.sum((1, 2)).clamp(min=1)).mean()


def diffusion_loss(conditional: Tensor, unconditional: Tensor, target: Tensor, guidance: float) -> Tensor:
    """Compute SLiMe's third loss: ``mean((u + s (c - u) - target)^2)``.

    The guided prediction is classifier-free guidance (Ho and Salimans, 2022).

    Parameters
    ----------
    conditional : (B, c, h, w) float tensor
        Prediction c under the learned prompt.
    unconditional : (B, c, h, w) float tensor
        Prediction u under the neutral prompt.
    target : (B, c, h, w) float tensor
        Training target of the UNet.
    guidance : float
        Scale s. The paper writes the plain Stable Diffusion loss, s = 1. Its code uses 100, which ties c to u.

    Returns
    -------
    () float32 tensor
    """
    c, u = conditional.float(), unconditional.float()  # 100 (c - u) overflows float16
    return (u + guidance * (c - u) - target.float()).square().mean()


def class_weights(targets: Tensor, valid: Tensor, power: float = 0.5) -> Tensor:
    """Compute class weights ``(mean area / area) ** power``, with mean 1 over present parts and 0 for absent parts.

    Parameters
    ----------
    targets : (V, P, h, w) float tensor
        Area fractions, summing to 1 over parts in valid cells.
    valid : (V, 1, h, w) float tensor
        Weight of each cell, 0..1. 0 ignores it.
    power : float
        0 weights all pixels equally, 1 weights all parts equally.

    Returns
    -------
    (P,) float tensor
    """
    area = (targets * valid).sum((0, 2, 3))
    present = area > 0
    weights = torch.where(present, (area[present].mean() / area.clamp(min=1e-9)) ** power, torch.zeros_like(area))
    return weights * present.sum() / weights.sum()


def cross_entropy(probabilities: Tensor, targets: Tensor, valid: Tensor, weights: Tensor) -> Tensor:
    """Compute the class-weighted cross-entropy, mean over valid cells.

    Parameters
    ----------
    probabilities, targets : (V, P, h, w) float tensors
        Summing to 1 over parts.
    valid : (V, 1, h, w) float tensor
        Weight of each cell, 0..1.
    weights : (P,) float tensor
        Class weights.

    Returns
    -------
    () float tensor
    """
    weighted = targets * weights[:, None, None] * valid
    return -(weighted * probabilities.clamp(min=1e-6).log()).sum() / weighted.sum().clamp(min=1e-9)
