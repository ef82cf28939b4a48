"""Descriptors and colours of grid cells."""

from __future__ import annotations

import cv2
import torch
from torch.nn import functional

from slimecore.memory.grid_features import GridFeatures


def test_grid_features_match_whole_image():
    """Grid features are those of an image computed whole.

    Descriptors as torch interpolates them, colours as patches cut out cell by cell.
    """
    random = torch.Generator().manual_seed(0)
    rgb = torch.randint(0, 255, (36, 60, 3), generator=random, dtype=torch.uint8).numpy()
    descriptor = torch.randn(1, 8, 3, 5, generator=random)
    found = GridFeatures.of(descriptor, rgb, 4)
    assert found.grid == (12, 20)
    unit, color = found.gather()
    whole = functional.interpolate(descriptor, size=(12, 20), mode="bilinear", align_corners=False)
    torch.testing.assert_close(unit, functional.normalize(whole[0].flatten(1).T, dim=1))
    lab = cv2.resize(rgb, (40, 24), interpolation=cv2.INTER_AREA).astype("float32") / 255
    lab = cv2.cvtColor(lab, cv2.COLOR_RGB2LAB) / 100
    row, column = 7, 11
    patch = torch.from_numpy(lab[2 * row - 1 : 2 * row + 3, 2 * column - 1 : 2 * column + 3]).reshape(48) / 4
    torch.testing.assert_close(color[row * 20 + column], patch)
    where = torch.tensor([151, 0, 239])
    torch.testing.assert_close(found.gather(where)[0], unit[where])
    assert torch.equal(found.gather(where)[1], color[where])
    torch.testing.assert_close(found.positions(where), torch.tensor([[7.5, 11.5], [0.5, 0.5], [11.5, 19.5]]) / 12)
