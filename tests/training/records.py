"""Samples the refinement network is trained on."""

from __future__ import annotations

import numpy as np

from slimevid.refinement.samples import RefinementSample


def record(seed: int, size: int = 48) -> RefinementSample:
    """A disc of one colour on another; the evidence lacks a quarter of it."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:size, :size]
    middle = rng.uniform(0.4 * size, 0.6 * size, 2)
    disc = np.hypot(y - middle[0], x - middle[1]) < 0.3 * size
    lost = disc & (y < middle[0]) & (x < middle[1])
    colours = rng.uniform(0, 255, (2, 3))
    rgb = np.where(disc[..., None], colours[0], colours[1]) + rng.normal(0, 3, (size, size, 3))
    planes = np.stack([np.where(disc & ~lost, 0.9, 0.1)] * 4 + [np.ones(disc.shape), *np.zeros((2, *disc.shape))])
    return RefinementSample(
        planes.astype(np.float16), rgb.clip(0, 255).astype(np.uint8), np.where(disc, 255, 0).astype(np.uint8)
    )
