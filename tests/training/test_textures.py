"""Texture families, collages and the texture bank."""

import numpy as np
import pytest

from training.textures import FAMILIES, TextureBank, collage, draw_texture, power_noise


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_texture_family_fills_unit_range(family):
    """Every texture family fills the unit range.

    Fields are float32 in [0, 1] and not constant.
    """
    field = FAMILIES[family][0](np.random.default_rng(1), 48)
    assert field.shape == (48, 48)
    assert field.dtype == np.float32
    assert field.min() >= 0
    assert field.max() <= 1
    assert field.std() > 0


def test_power_noise_is_normal():
    """Power noise has zero mean and unit variance."""
    field = power_noise(np.random.default_rng(0), 64, 1.0)
    np.testing.assert_allclose([field.mean(), field.std()], [0, 1], atol=1e-4)


def test_collage_seeded_with_all_leaf_sizes():
    """A collage is seeded and has large and small leaves.

    Neighbouring pixels agree far more often than far pixels, at every distance: no size is special.
    """
    first, again, other = (collage(np.random.default_rng(seed), 128) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert first.shape == other.shape == (128, 128, 3)
    assert first.dtype == np.uint8
    assert (first != other).any()
    pictures = [collage(np.random.default_rng(seed), 128).astype(float) for seed in range(8)]
    change = [np.mean([np.abs(p[:, d:] - p[:, :-d]).mean() / p.std() for p in pictures]) for d in (1, 4, 16, 64)]
    assert change == sorted(change)
    assert change[0] < 0.5 * change[-1]
    assert change[2] > 1.2 * change[1]


def test_texture_bank_collage_share():
    """The texture bank draws collages at the requested rate, all or none here."""
    rng = np.random.default_rng((7,))
    rng.random()  # the draw that decides
    np.testing.assert_array_equal(TextureBank((7,), 1, 64, collages=1.0).textures[0], collage(rng, 64))
    np.testing.assert_array_equal(TextureBank((7,), 2, 64).textures[0], draw_texture(np.random.default_rng((7,)), 64))
