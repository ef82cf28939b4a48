"""The projection of the memory's keys."""

from __future__ import annotations

import torch

from slimecore.memory.config import MemoryConfig
from slimecore.memory.key_projection import KeyProjection


def test_projection_keeps_main_variance():
    """Projected keys are compared along the directions of largest variance.

    Cells vary in three directions of 56 columns: three dimensions keep all squared distances.
    """
    random = torch.Generator().manual_seed(0)
    config = MemoryConfig(key_dims=3)
    color = torch.randn(40, 3, generator=random) @ torch.randn(3, 48, generator=random)
    descriptor = torch.ones(40, 8) / 8**0.5
    space, whole = KeyProjection(config), KeyProjection(MemoryConfig(key_dims=0))
    space.fit(descriptor, color)
    reduced, full = space.vectors(descriptor, color), whole.vectors(descriptor, color)
    assert reduced.shape == (40, 3)
    exact = "donot_use_mm_for_euclid_dist"
    torch.testing.assert_close(
        torch.cdist(reduced, reduced, compute_mode=exact),
        torch.cdist(full, full, compute_mode=exact),
        rtol=1e-3,
        atol=1e-2,
    )
    before = space.vectors(descriptor, color)
    space.fit(descriptor, -2 * color.flip(1))  # the first frame decides
    assert torch.equal(space.vectors(descriptor, color), before)
    assert space.nbytes == 4 * (3 + 1) * 56
