"""Training samples of the refinement network."""

from __future__ import annotations

import numpy as np
import pytest

from slimevid.refinement.samples import RefinementSample, batch_of, random_crop


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (160, 5), (7, 7), (128, 128)])
def test_crops_of_any_size_batch(size):
    """Crops of samples of any size form a batch."""
    rng = np.random.default_rng(0)
    planes = rng.uniform(0.1, 0.9, (7, *size)).astype(np.float16)
    record = RefinementSample(planes, rng.integers(0, 255, (*size, 3), np.uint8), rng.integers(0, 255, size, np.uint8))
    planes, rgb, truth = batch_of([random_crop(rng, record, 128) for _ in range(8)])
    assert planes.shape == (8, 7, 128, 128)
    assert rgb.shape == (8, 3, 128, 128)
    assert truth.shape == (8, 128, 128)
