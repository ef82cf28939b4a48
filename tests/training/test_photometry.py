"""Photometric changes."""

from dataclasses import replace

import numpy as np

from training.photometry import Grade, develop


def test_haze_moves_colours_towards_veil():
    """Haze draws colours towards the veil.

    At contrast 1/4 black and white keep a quarter of their distance, around the veil.
    """
    rng = np.random.default_rng(0)
    plain = replace(Grade.draw(rng), gamma=1.0, gain=np.ones(3), saturation=1.0, noise=0.0, uneven=np.zeros((3, 3)))
    plain = replace(plain, blur=0.0, quality=0)
    rgb = np.zeros((8, 8, 3), np.float32)
    rgb[4:] = 200
    hazy = replace(plain, contrast=0.25, veil=np.full(3, 100, np.float32))
    clear, dim = (develop(rng, rgb, grade, np.zeros((8, 8, 3), np.float32), shaken=0.0) for grade in (plain, hazy))
    assert (clear.min(), clear.max()) == (0, 200)
    np.testing.assert_allclose((dim.min(), dim.max()), (75, 125), atol=1)
    assert Grade.draw(np.random.default_rng(1), haze=0.0).contrast == 1
    assert Grade.draw(np.random.default_rng(1), haze=1.0).contrast < 1
