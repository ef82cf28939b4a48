"""Descriptors and colours on a regular grid, gathered lazily at requested cells."""

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
    """Descriptors and colours of a frame on a grid of H x W cells, in row-major order.

    Parameters
    ----------
    descriptor : (1, D, h, w) float tensor
        Descriptors of the backbone.
    cells : (2 H + 2, 2 W + 2, 3) float32 array
        Colours of :func:`slimecore.imaging.lab_patches.lab_half_cells` on the grid.
    upsampling : int
        Grid cells per descriptor cell along each axis. Descriptors are interpolated, colours are not.
    """

    descriptor: Tensor
    cells: npt.NDArray[Any]
    upsampling: int = 1

    @classmethod
    def of(cls, descriptor: Tensor, rgb: npt.NDArray[Any], upsampling: int = 1) -> GridFeatures:
        """Build the grid features of an image.

        Parameters
        ----------
        descriptor : (1, D, h, w) float tensor
            Descriptors of the backbone.
        rgb : (height, width, 3) uint8
            The image at any size.
        upsampling : int
            Grid cells per descriptor cell along each axis.

        Returns
        -------
        GridFeatures
        """
        grid = (int(descriptor.shape[2]) * upsampling, int(descriptor.shape[3]) * upsampling)
        return cls(descriptor, lab_half_cells(rgb, grid), upsampling)

    @property
    def grid(self) -> tuple[int, int]:
        """Rows and columns of the grid."""
        return int(self.descriptor.shape[2]) * self.upsampling, int(self.descriptor.shape[3]) * self.upsampling

    @property
    def device(self) -> torch.device:
        """Device of the descriptors."""
        return self.descriptor.device

    def __len__(self) -> int:
        return self.grid[0] * self.grid[1]

    def gather(self, where: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Gather descriptors and colours of grid cells.

        Parameters
        ----------
        where : (n,) int64 tensor, optional
            Indices of cells, all by default.

        Returns
        -------
        descriptor : (n, D) float tensor
            L2-normalised over D.
        color : (n, 48) float tensor
            Patches of :func:`slimecore.imaging.lab_patches.lab_patches`.
        """
        cell = torch.arange(len(self), device=self.device) if where is None else where
        row, column = cell // self.grid[1], cell % self.grid[1]
        descriptor = self._interpolate(row, column)
        unit = descriptor / descriptor.square().sum(1, keepdim=True).sqrt().clamp(min=1e-12)
        colors = lab_patches(self.cells, row.cpu().numpy(), column.cpu().numpy())
        return unit, torch.from_numpy(colors).to(unit)

    def _interpolate(self, row: Tensor, column: Tensor) -> Tensor:
        """Interpolate descriptors (n, D) at cells of the finer grid, bilinearly."""
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
        """Return the centres (n, 2) of grid cells, row and column, as fractions of the grid's short side.

        Parameters
        ----------
        where : (n,) int64 tensor, optional
            Indices of cells, all by default.
        """
        cell = torch.arange(len(self), device=self.device) if where is None else where
        row_column = torch.stack([cell // self.grid[1], cell % self.grid[1]], 1)
        return ((row_column + 0.5) / min(self.grid)).to(self.descriptor.dtype)
