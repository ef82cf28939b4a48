"""Read the mask memory for a frame: coarsely everywhere, finely where the result is uncertain."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from slimecore.array_types import Array
from slimecore.memory.grid_features import GridFeatures
from slimecore.memory.mask_memory import MaskMemory

__all__ = ["Uncertainty", "read_memory"]

Uncertainty = Callable[[Array], Array]
"""Map a coarse read-out (P, H, W) float32 to a mask (H, W) bool of cells that a finer read-out could change."""

_COARSE_STRIDE_CELLS = 4
_DILATION_SHARE = 1 / 32  # of the grid's short side: uncertain cells are read with their surroundings


def read_memory(memory: MaskMemory, features: GridFeatures, uncertainty: Uncertainty) -> Array:
    """Read the memory on the grid of a frame.

    Parameters
    ----------
    memory : MaskMemory
    features : GridFeatures
        Queries, on a grid of (H, W) cells.
    uncertainty : Uncertainty

    Returns
    -------
    (P, H, W) float32
        Probabilities, summing to 1 over P.
    """
    cells = _coarse_cells(features.grid)
    coarse = memory.read(features, cells.flatten().to(features.device)).T.unflatten(1, tuple(cells.shape))
    # The last row and column are sampled too, so the map spans the corners of the grid, not those of its cells.
    full = functional.interpolate(coarse[None], size=features.grid, mode="bilinear", align_corners=True)[0]
    radius = max(1, int(min(features.grid) * _DILATION_SHARE))
    disk = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * radius + 1, 2 * radius + 1))
    active = cv2.dilate(uncertainty(full.cpu().numpy()).astype(np.uint8), disk).ravel() > 0
    fine = torch.nonzero(torch.from_numpy(active)).flatten().to(full.device)
    if len(fine):
        full = full.flatten(1)
        full[:, fine] = memory.read(features, fine).T
        full = full.reshape(-1, *features.grid)
    return np.asarray(full.cpu().numpy())


def _coarse_cells(grid: tuple[int, int]) -> Tensor:
    """Return the indices of about every fourth cell along both axes, both ends included."""
    rows, columns = (torch.linspace(0, n - 1, max(2, -(-n // _COARSE_STRIDE_CELLS))).round().long() for n in grid)
    return rows[:, None] * grid[1] + columns
