"""Extra query features beside the cross-attention queries: descriptor and position (docs/adr/0010).

Each token owns a free vector c beside its key. The logit of a grid cell is the mean over layers of ``q . k / sqrt(d)``
plus ``x . c``, with the features x computed here. Position is encoded by sines and cosines, as in transformers (Vaswani
et al., NeurIPS 2017).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from slimecore.attention.cross_attention import Features

__all__ = ["FULL_IMAGE", "column_logits", "extra_query_features"]

_CYCLES_PER_SIDE = (0.5, 1.0)  # spatial frequencies of the position waves

FULL_IMAGE = (0.0, 1.0, 0.0, 1.0)


def extra_query_features(
    features: Features, descriptor: float, position: float, windows: Sequence[tuple[float, ...]] = (FULL_IMAGE,)
) -> Tensor:
    """Compute the extra query features of every grid cell.

    Parameters
    ----------
    features : Features
    descriptor : float
        Norm of the descriptor features. 0 leaves them out.
    position : float
        Amplitude of the position features. 0 leaves them out.
    windows : sequence of (top, bottom, left, right)
        Crop of its image that each item of the batch covers, as fractions of the sides. A single crop holds for all.

    Returns
    -------
    (B, C, h, w) float tensor on ``features.grid``
        C is 0 if both kinds are left out.
    """
    grid = features.grid
    columns = [features.descriptor.new_zeros(len(features.descriptor), 0, *grid)]
    if descriptor:
        maps = features.descriptor.float()
        if tuple(maps.shape[-2:]) != grid:
            maps = functional.interpolate(maps, size=grid, mode="bilinear", align_corners=False)
        columns.append(descriptor * maps)
    if position:
        waves = torch.stack([_position_maps(grid, window) for window in windows])
        columns.append(position * waves.to(columns[0]).expand(len(columns[0]), -1, -1, -1))
    return torch.cat(columns, 1)


def _position_maps(grid: tuple[int, int], window: tuple[float, ...]) -> Tensor:
    """Products of the vertical and horizontal position waves, (25, h, w)."""
    top, bottom, left, right = window
    return torch.einsum("iy,jx->ijyx", _waves(grid[0], top, bottom), _waves(grid[1], left, right)).flatten(0, 1)


def _waves(count: int, start: float, stop: float) -> Tensor:
    """Constant, cosine and sine waves (5, count) at cell centres from `start` to `stop` of a side, fractions 0..1."""
    phase = 2 * math.pi * (start + (stop - start) * (torch.arange(count) + 0.5) / count)
    return torch.stack([torch.ones(count), *(f(c * phase) for c in _CYCLES_PER_SIDE for f in (torch.cos, torch.sin))])


def column_logits(columns: Tensor, vectors: Tensor) -> Tensor:
    """Compute the logits that the extra query features add to those of the tokens.

    Parameters
    ----------
    columns : (B, C, h, w) float tensor
        Features from :func:`extra_query_features`.
    vectors : (T, C) float tensor
        Learned vectors of the tokens.

    Returns
    -------
    (B, T, h, w) float tensor
    """
    return torch.einsum("bchw,tc->bthw", columns, vectors)
