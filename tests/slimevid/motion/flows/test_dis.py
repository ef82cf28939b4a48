"""DIS flow."""

from __future__ import annotations

import numpy as np
import pytest

from slimevid.motion.flows import dis


@pytest.mark.parametrize("size", [(1, 1), (3, 5), (8, 8), (12, 12), (14, 60), (200, 9), (17, 16)])
def test_dis_accepts_small_images(size):
    """DIS flow accepts small images.

    OpenCV refuses images of few pixels, and crashes the process for others.
    """
    picture = np.random.default_rng(0).integers(0, 255, (*size, 3), np.uint8)
    motion = dis.build()(picture, np.roll(picture, 1, 1))
    assert motion.shape == (*size, 2)
    assert motion.dtype == np.float32
    assert np.isfinite(motion).all()
    assert np.abs(dis.build()(picture, picture)).max() < 0.1
