"""Features of a frame."""

from __future__ import annotations

import numpy as np
import pytest

from slimecore.memory.config import MemoryConfig
from slimecore.memory.grid_features import GridFeatures
from slimecore.types import Frame
from slimevid.config import RunConfig
from slimevid.frame.features import FrameFeatures


@pytest.mark.parametrize(("detail", "same"), [(2, True), (4, True), (5, False)])
def test_grid_colors_need_two_pixels(tiny, detail, same):
    """Colours of grid cells come from an image that has two pixels per cell.

    This is the network's input where that is fine enough, otherwise the frame itself.
    """
    config = RunConfig(network_size=64, memory=MemoryConfig(grid_upsampling=detail))
    rgb = np.zeros((256, 256, 3), np.uint8)
    rgb[:, ::4] = 255
    state = FrameFeatures(Frame(0, rgb, "0"), config, tiny)
    cells = GridFeatures.of(state.descriptor, state.network_image, detail).cells
    assert np.array_equal(state.grid_features.cells, cells) is same
    assert state.network_image.shape == (64, 64, 3)
