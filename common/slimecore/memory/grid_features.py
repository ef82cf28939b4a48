"""Places of a picture: what the memory compares, made only where somebody asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy.typing as npt
import torch
from torch import Tensor

from slimecore.imaging.lab_patches import lab_half_cells, lab_patches

__all__ = ["GridFeatures"]


@dataclass(frozen=True, slots=True, eq=False)
class GridFeatures:
    """The places of one frame, row-major on a grid.

    Parameters
    ----------
    descriptor : (1, D, h, w) float tensor
        Of the backbone.
    cells : (2 H + 2, 2 W + 2, 3) float32 array
        :func:`slimecore.imaging.lab_patches.half_cells` of the grid.
    detail : int
        The grid is this many times denser than the descriptors', which are interpolated; colours are not.
    """

    descriptor: Tensor
    cells: npt.NDArray[Any]
    upsampling: int = 1

    @classmethod
    def of(cls, descriptor: Tensor, rgb: npt.NDArray[Any], detail: int = 1) -> GridFeatures:
        """Places of a picture.

        Parameters
        ----------
        descriptor : (1, D, h, w) float tensor
            Of the backbone.
        rgb : (H, W, 3) uint8
            The picture, of any size.
        detail : int
        """
        grid = (int(descriptor.shape[2]) * detail, int(descriptor.shape[3]) * detail)
        return cls(descriptor, lab_half_cells(rgb, grid), detail)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns."""
        return int(self.descriptor.shape[2]) * self.upsampling, int(self.descriptor.shape[3]) * self.upsampling

    @property
    def device(self) -> torch.device:
        """Where the descriptors are."""
        return self.descriptor.device

    def __len__(self) -> int:
        return self.grid[0] * self.grid[1]

    def gather(self, where: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Descriptors, of unit length, and colours of some places.

        Parameters
        ----------
        where : (n,) int64 tensor, optional
            Numbers of places; all by default.

        Returns
        -------
        descriptor : (n, D) float tensor
        color : (n, 48) float tensor
            See :func:`slimecore.imaging.lab_patches.patches_at`.
        """
        asked = torch.arange(len(self), device=self.device) if where is None else where
        row, column = asked // self.grid[1], asked % self.grid[1]
        found = self._between(row, column)
        unit = found / found.square().sum(1, keepdim=True).sqrt().clamp(min=1e-12)
        colors = lab_patches(self.cells, row.cpu().numpy(), column.cpu().numpy())
        return unit, torch.from_numpy(colors).to(unit)

    def _between(self, row: Tensor, column: Tensor) -> Tensor:
        """Descriptors between the cells of their own grid, bilinear, (n, D)."""
        height, width = self.descriptor.shape[2:]
        columns = self.descriptor[0].flatten(1).T.contiguous()
        if self.upsampling == 1:
            return columns[row * width + column]
        y = ((row + 0.5) / self.upsampling - 0.5).clamp(0, height - 1)
        x = ((column + 0.5) / self.upsampling - 0.5).clamp(0, width - 1)
        top, left = y.long(), x.long()
        down, right = (y - top)[:, None], (x - left)[:, None]
        below, beside = (top + 1).clamp(max=height - 1), (left + 1).clamp(max=width - 1)
        upper = columns[top * width + left] * (1 - right) + columns[top * width + beside] * right
        lower = columns[below * width + left] * (1 - right) + columns[below * width + beside] * right
        return upper * (1 - down) + lower * down

    def positions(self, where: Tensor | None = None) -> Tensor:
        """(n, 2) float rows and columns of the centres of some places, all by default, in shares of the short side."""
        asked = torch.arange(len(self), device=self.device) if where is None else where
        cells = torch.stack([asked // self.grid[1], asked % self.grid[1]], 1)
        return ((cells + 0.5) / min(self.grid)).to(self.descriptor.dtype)
