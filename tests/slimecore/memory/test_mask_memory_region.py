"""A memory whose search region changes."""

from __future__ import annotations

import torch

from slimecore.memory.config import MemoryConfig
from slimecore.memory.mask_memory import MaskMemory
from tests.slimecore.memory.known_grid_features import KnownGridFeatures as KnownPlaces


def test_memory_region_change_keeps_positions():
    """After a change of the search region the memory answers for the same positions.

    Cells remembered in an image are read through a region of it: nearness is judged where they are.
    """
    config = MemoryConfig(
        write_interval=1,
        keys_per_frame=0,
        color_weight=0.0,
        temperature=10.0,
        class_balance=0.0,
        spatial_sigma=0.1,
        novelty_distance=0.0,
    )
    grid, part = (12, 20), (6, 10)
    flat = torch.ones(240, 4) / 2
    soft = torch.rand(2, *grid, generator=torch.Generator().manual_seed(0)).softmax(0)
    memory = MaskMemory(config)
    memory.write(KnownPlaces(flat, torch.zeros(240, 3), grid), soft)
    memory.change_region((-3.0, -5.0), 12.0, 6.0)  # rows 3..9 and columns 5..15 of 12 x 20
    found = memory.read(KnownPlaces(flat[:60], torch.zeros(60, 3), part)).T.reshape(2, *part)
    wide = MaskMemory(MemoryConfig(**{**config_values(config), "spatial_sigma": 0.05}))
    wide.write(KnownPlaces(flat, torch.zeros(240, 3), grid), soft)
    same = wide.read(KnownPlaces(flat, torch.zeros(240, 3), grid)).T.reshape(2, *grid)
    torch.testing.assert_close(found, same[:, 3:9, 5:15], atol=0.02, rtol=0)
    assert (found[0] - soft[0, 3:9, 5:15]).abs().max() > 0.001


def config_values(config):
    return {name: getattr(config, name) for name in config.__dataclass_fields__}
