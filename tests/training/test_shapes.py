"""Silhouettes and domes."""

import numpy as np

from training.shapes import capsule, dome_normals, random_silhouette


def test_silhouettes_leave_border_free():
    """Silhouettes leave the border free.

    No leaf is cut by its patch, and a limb has the requested width.
    """
    for seed in range(20):
        mask = random_silhouette(np.random.default_rng(seed), 48)
        assert mask.max() == 255
        assert mask[[0, -1]].max() == mask[:, [0, -1]].max() == 0
    assert abs(int((capsule(100, 0.4, 1.0)[:, 50] > 127).sum()) - 40) <= 1


def test_dome_normals_point_outwards():
    """Dome normals point outwards.

    Left of the middle they point left, right of it right.
    """
    normals = dome_normals(capsule(64, 0.6, 1.0), 1.0)
    assert normals[32, 4, 0] < -0.05
    assert normals[32, 59, 0] > 0.05
