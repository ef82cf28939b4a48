"""Further query columns beside the cross-attention's: what a place looks like up close, and where it lies.

Each token owns a free vector ``c`` beside its key; a place's logit becomes ``mean over layers of q . k / sqrt(d)``
plus ``x . c`` with the columns `x` made here. It is still one attention read-out of learned keys, only wider: the
descriptors carry what the cross-attention queries of a small network lost, the position says where a part usually is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from slimecore.attention.cross_attention import Features

__all__ = ["FULL_IMAGE", "column_logits", "extra_query_features"]

_CYCLES = (0.5, 1.0)  # of the position waves, over a picture's side


FULL_IMAGE = (0.0, 1.0, 0.0, 1.0)


def extra_query_features(
    features: Features, descriptor: float, position: float, windows: Sequence[tuple[float, ...]] = (FULL_IMAGE,)
) -> Tensor:
    """Columns of every place.

    Parameters
    ----------
    features : Features
    descriptor : float
        Length of the descriptor columns; 0 leaves them out.
    position : float
        Amplitude of the position columns; 0 leaves them out.
    windows : sequence of (top, bottom, left, right)
        Which share of its picture each item of the batch shows; one for all, or one for each.

    Returns
    -------
    (B, C, h, w) float tensor on ``features.grid``; C may be 0
    """
    grid = features.grid
    columns = [features.descriptor.new_zeros(len(features.descriptor), 0, *grid)]
    if descriptor:
        own = features.descriptor.float()
        if tuple(own.shape[-2:]) != grid:
            own = functional.interpolate(own, size=grid, mode="bilinear", align_corners=False)
        columns.append(descriptor * own)
    if position:
        waves = torch.stack([_plane(grid, window) for window in windows])
        columns.append(position * waves.to(columns[0]).expand(len(columns[0]), -1, -1, -1))
    return torch.cat(columns, 1)


def _plane(grid: tuple[int, int], window: tuple[float, ...]) -> Tensor:
    top, bottom, left, right = window
    return torch.einsum("iy,jx->ijyx", _waves(grid[0], top, bottom), _waves(grid[1], left, right)).flatten(0, 1)


def _waves(count: int, start: float, stop: float) -> Tensor:
    """(1 + 2 * cycles, count) a constant, and smooth waves over cell centres at start..stop of a side."""
    phase = 2 * math.pi * (start + (stop - start) * (torch.arange(count) + 0.5) / count)
    return torch.stack([torch.ones(count), *(f(c * phase) for c in _CYCLES for f in (torch.cos, torch.sin))])


def column_logits(columns: Tensor, vectors: Tensor) -> Tensor:
    """What the columns add to the logits of tokens.

    Parameters
    ----------
    columns : (B, C, h, w) float tensor
    vectors : (T, C) float tensor

    Returns
    -------
    (B, T, h, w) float tensor
    """
    return torch.einsum("bchw,tc->bthw", columns, vectors)
