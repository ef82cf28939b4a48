"""Random features of a backbone."""

from __future__ import annotations

import torch

from slimecore.attention.cross_attention import AttentionLayer, Features


def random_features(grid=(4, 6), batch=2):
    """Two cross-attention layers, one of them coarser, and descriptors on a finer grid."""
    draw = torch.Generator().manual_seed(0)
    rand = lambda *shape: torch.randn(*shape, generator=draw)  # noqa: E731
    coarse = (grid[0] // 2, grid[1] // 2)
    cross = (
        AttentionLayer("a", grid, rand(batch, 2, grid[0] * grid[1], 3), None, 3**-0.5),
        AttentionLayer("b", coarse, rand(batch, 1, coarse[0] * coarse[1], 5), None, 5**-0.5),
    )
    own = AttentionLayer("c", grid, rand(batch, 1, 24, 2), rand(batch, 1, 24, 2), 1.0)
    descriptor = torch.nn.functional.normalize(rand(batch, 7, 2 * grid[0], 2 * grid[1]), dim=1)
    return Features(cross, (own,), descriptor, (32, 48))
