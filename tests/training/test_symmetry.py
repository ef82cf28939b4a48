"""A batch used again: the ground truth follows the images."""

import numpy as np
import pytest

from training.pairs import CELL, Batch, make_batch
from training.scene import SceneSettings
from training.symmetry import varied


@pytest.mark.parametrize("seed", range(12))
def test_ground_truth_follows_images(seed):
    """The ground truth follows the images.

    Ids and visibility move as pixels do. The position of a cell is where its partner was moved to.
    """
    side, size = 8, 64
    batch = make_batch(1, 0, 2, size, SceneSettings())
    # Channels hold row, column and frame, whatever was drawn: pictures then tell where a pixel came from.
    y, x = np.mgrid[:size, :size]
    rgb = np.stack([np.stack([y, x + 64, np.full_like(y, 128 + frame)], -1) for frame in (0, 1)]).astype(np.uint8)
    batch = Batch(np.stack([rgb, rgb]), batch.objects, batch.parts, batch.positions, batch.visible)
    got = varied(batch, np.random.default_rng(seed))
    centre = np.arange(CELL // 2, size, CELL)
    seen = np.sort(got.rgb[:, :, centre][:, :, :, centre], axis=-1).astype(int)  # row < 64 <= column < 128 <= frame
    row, column, frame = seen[..., 0], seen[..., 1] - 64, seen[..., 2] - 128
    # A mirror puts pixel p at size - 1 - p, so the sample left of a cell's middle shows the one right of it.
    cell = (row // CELL) * side + column // CELL
    for item in range(2):
        for name in ("objects", "parts", "visible"):
            expected = getattr(batch, name)[item][frame[item], cell[item]]
            np.testing.assert_array_equal(getattr(got, name)[item].reshape(2, side, side), expected)
    # Follow a visible place: the pixel it lies on in the other frame must be the one the original names.
    for item, which, place in zip(*np.nonzero(got.visible), strict=True):
        at = got.positions[item, which, place]
        there = got.rgb[item, 1 - which, int(min(at[1], size - 1)), int(min(at[0], size - 1))].astype(int)
        there = np.sort(there)
        original = batch.positions[
            item, frame[item].reshape(2, -1)[which, place], cell[item].reshape(2, -1)[which, place]
        ]
        assert abs(there[0] + 0.5 - original[1]) <= 1.001
        assert abs(there[1] - 64 + 0.5 - original[0]) <= 1.001
        assert there[2] - 128 == 1 - frame[item].reshape(2, -1)[which, place]
