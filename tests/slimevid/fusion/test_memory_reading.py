"""Coarse and fine read-outs of the memory."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn import functional

from slimecore.memory.config import MemoryConfig
from slimecore.memory.mask_memory import MaskMemory
from slimevid.fusion.memory_reading import read_memory
from tests.slimecore.memory.known_grid_features import KnownGridFeatures as KnownPlaces


def test_fine_reading_only_where_uncertain():
    """The memory is read finely where the result is uncertain, and nowhere else."""
    random = torch.Generator().manual_seed(0)
    grid = (12, 16)
    descriptor = functional.normalize(torch.randn(192, 8, generator=random), dim=1)
    places = KnownPlaces(descriptor, torch.rand(192, 48, generator=random), grid)
    memory = MaskMemory(MemoryConfig(temperature=0.2, color_weight=0.0))
    memory.write(places, torch.rand(3, *grid, generator=random).softmax(0), permanent=True)
    fine = memory.read(places).T.reshape(3, *grid).numpy()
    everywhere = read_memory(memory, places, lambda coarse: np.ones(grid, bool))
    nowhere = read_memory(memory, places, lambda coarse: np.zeros(grid, bool))
    spot = np.zeros(grid, bool)
    spot[6, 9] = True
    one = read_memory(memory, places, lambda coarse: spot)
    assert np.allclose(everywhere, fine, atol=1e-5)
    assert np.allclose(nowhere[:, ::11, ::15], fine[:, ::11, ::15], atol=1e-5)  # corners are sampled
    assert np.allclose(one[:, 6, 9], fine[:, 6, 9], atol=1e-5)
    assert np.allclose(one[:, :4], nowhere[:, :4], atol=1e-5)
    assert not np.allclose(nowhere[:, 6, 9], fine[:, 6, 9], atol=1e-3)
