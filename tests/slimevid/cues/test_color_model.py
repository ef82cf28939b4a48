"""Log-odds of colours against a naive implementation, and their laws."""

from __future__ import annotations

import math

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimevid.cues.color_model import LIMIT, ColorModel


def drawn(seed: int, side: int = 12) -> tuple[np.ndarray, np.ndarray]:
    """Return an image of a few colours, and the probability of the background."""
    rng = np.random.default_rng(seed)
    colours = rng.integers(0, 256, (6, 3))
    return colours[rng.integers(0, 6, (side, side))].astype(np.uint8), rng.random((side, side)).astype(np.float32)


def bin_of(pixel: np.ndarray) -> tuple[int, int, int]:
    lightness, a, b = (int(v) for v in cv2.cvtColor(pixel[None, None], cv2.COLOR_RGB2LAB)[0, 0])
    opponents = (min(23, max(0, math.floor((v - 128) / 96 * 24) + 12)) for v in (a, b))
    return math.floor(lightness * 24 / 256), *opponents


def naive(pictures: list[tuple[np.ndarray, np.ndarray]], pixel: np.ndarray) -> float:
    """Return the log-odds of a pixel, neighbour by neighbour of its bin."""
    shares = []
    for part in (False, True):
        total, near = 0.0, 0.0
        for rgb, background in pictures:
            for row, weights in zip(rgb, background, strict=True):
                for other, ground in zip(row, weights, strict=True):
                    weight = float(1 - ground) if part else float(ground)
                    total += weight
                    share = 1.0
                    for mine, its in zip(bin_of(pixel), bin_of(other), strict=True):
                        at_edge = its in {0, 23}
                        kept = 0.86 + 0.07 * at_edge  # nothing leaves the cube
                        share *= {0: kept, 1: 0.07}.get(abs(mine - its), 0.0)
                    near += weight * share
        shares.append(near / max(total, 1) + 2e-5)
    return float(np.clip(math.log(shares[1] / shares[0]), -4, 4))


def soft(background):
    """Return soft labels of two parts that share the foreground."""
    return np.stack([background, 0.25 * (1 - background), 0.75 * (1 - background)])


def test_ignored_pixels_not_counted():
    """Ignored pixels are not counted."""
    rgb, background = drawn(0)
    known, some = soft(background), ColorModel()
    known[:, 1:] = 0
    some.learn(rgb, known)
    first = ColorModel()
    first.learn(rgb[:1], soft(background[:1]))
    np.testing.assert_allclose(some.odds(rgb), first.odds(rgb), atol=1e-5)


@pytest.mark.parametrize("seed", range(3))
def test_odds_match_naive(seed):
    """Log-odds match the naive implementation."""
    pictures = [drawn(2 * seed), drawn(2 * seed + 1)]
    model = ColorModel()
    for rgb, background in pictures:
        model.learn(rgb, soft(background))
    asked = np.concatenate([pictures[0][0][:2], drawn(99)[0][:2], np.array([[[0, 0, 0], [255, 255, 255]] * 6])])
    found = model.odds(asked.astype(np.uint8))
    assert found.dtype == np.float32
    expected = [[naive(pictures, pixel) for pixel in row] for row in asked.astype(np.uint8)]
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(found, expected, atol=2e-3)


@given(st.integers(0, 2**32 - 1))
def test_foreground_and_background_antisymmetric(seed):
    """Exchanging foreground and background changes the sign of the log-odds."""
    rgb, background = drawn(seed)
    one, other = ColorModel(), ColorModel()
    one.learn(rgb, soft(background))
    other.learn(rgb, soft(1 - background))
    np.testing.assert_allclose(one.odds(rgb), -other.odds(rgb), atol=1e-4)


def test_unseen_colors_neutral_others_limited():
    """Unseen colours have log-odds of 0, and others at most the limit."""
    red, blue, green = (np.full((8, 8, 3), c, np.uint8) for c in ((200, 30, 30), (30, 30, 200), (30, 200, 30)))
    model = ColorModel()
    assert not model.odds(red).any()
    background = np.repeat([0.0, 1.0], 8)[:, None].repeat(8, 1).astype(np.float32)
    model.learn(np.concatenate([red, blue]), soft(background))
    assert (model.odds(red) == LIMIT).all()
    assert (model.odds(blue) == -LIMIT).all()
    assert not model.odds(green).any()


def test_small_part_counts_fully():
    """A part counts as much as the background, however small it is."""
    rgb = np.array([[[200, 30, 30]] * 2 + [[30, 30, 200]] * 2], np.uint8).repeat(50, 1)
    background = np.ones((1, 200), np.float32)
    background[0, 50:100] = 0  # half of the reds
    background[0, 100:110] = 0  # a tenth of the blues
    model = ColorModel()
    model.learn(rgb, soft(background))
    red = math.log((50 / 60) / (50 / 140))
    assert model.odds(rgb)[0, 0] == pytest.approx(red, abs=1e-3)
