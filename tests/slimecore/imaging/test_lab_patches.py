"""Lab colours of a grid's half cells, against kornia's formula."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from kornia.color import rgb_to_lab

from slimecore.imaging.lab_patches import lab_half_cells


@pytest.mark.parametrize("cell", [2, 4, 8])
def test_half_cells_equal_kornia(cell: int) -> None:
    """Area averages of whole pixels, then Lab: OpenCV's table is within 0.4 of the formula, of 100."""
    gh, gw, half = 6, 10, cell // 2
    rgb = np.random.default_rng(cell).integers(0, 256, (gh * cell, gw * cell, 3)).astype(np.uint8)
    mean = np.round(rgb.reshape(2 * gh, half, 2 * gw, half, 3).mean((1, 3))).astype(np.float32)
    lab = rgb_to_lab(torch.from_numpy(mean / 255).permute(2, 0, 1)[None])[0].permute(1, 2, 0).numpy() / 100
    cells = lab_half_cells(rgb, (gh, gw))
    assert cells.shape == (2 * gh + 2, 2 * gw + 2, 3)
    difference = np.abs(cells[1:-1, 1:-1] - lab)
    assert np.median(difference) < 2e-3
    tied = 1.2e-2 if cell > 2 else 4e-3  # a mean that ends in .5 may round to either side
    assert difference.max() < tied
    assert np.array_equal(cells, np.pad(cells[1:-1, 1:-1], ((1, 1), (1, 1), (0, 0)), mode="edge"))
