"""Synthetic clips whose images agree with their labels."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from slimecore.io.masks import MaskFile, make_parts
from slimecore.metrics.davis import region_j
from slimecore.types import Annotation
from slimevid.refinement.lucid_dreaming import dream_clip
from tests.slimevid.refinement.annotations import red_on_blue


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_images_agree_with_labels(seed):
    """Images of a synthetic clip agree with their labels in every frame."""
    given_ = red_on_blue(96, 128)
    found = dream_clip(given_, 5, np.random.default_rng(seed))
    assert found.rgb.shape == (5, 96, 128, 3)
    assert found.rgb.dtype == np.uint8
    assert found.rows.shape == (5, 96, 128)
    assert set(np.unique(found.rows)) <= {0, 1, 2}
    for rgb, rows in zip(found.rgb.astype(int), found.rows, strict=True):
        red = rgb[..., 0] > rgb[..., 2]  # nothing of the thing is left where it was, either
        assert not (rows > 0).any() or region_j(red, rows > 0) > 0.85


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_first_frame_is_noisy_annotation(seed):
    """The first frame is the annotated one but for noise."""
    given_ = red_on_blue(64, 80)
    found = dream_clip(given_, 2, np.random.default_rng(seed))
    assert np.array_equal(found.rows[0], given_.rows)
    inside = np.abs(found.rgb[0].astype(int) - given_.rgb).max(2)
    assert np.median(inside) < 12
    assert not np.array_equal(found.rgb[0], found.rgb[1])


def test_parts_move_and_are_occluded():
    """Parts move, and sometimes something occludes them."""
    given_ = red_on_blue(96, 128)
    ends = [dream_clip(given_, 4, np.random.default_rng(seed)).rows for seed in range(20)]
    assert np.mean([region_j(rows[-1] > 0, rows[0] > 0) for rows in ends]) < 0.8
    holes = [rows[1:].any() and ((rows[2] > 0).sum() < 0.93 * (rows[0] > 0).sum()) for rows in ends]
    assert 2 <= sum(holes) < 20


def test_same_seed_gives_same_clip():
    """The same seed gives the same clip."""
    given_ = red_on_blue(48, 64)
    one, other, third = (dream_clip(given_, 3, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert np.array_equal(one.rgb, other.rgb)
    assert not np.array_equal(one.rgb, third.rgb)


def test_large_images_reduced_ignored_is_background():
    """Large images are reduced, and ignored pixels are background."""
    given_ = red_on_blue(960, 1280)
    rows = given_.rows.copy()
    rows[:100] = -1
    found = dream_clip(Annotation(given_.rgb, rows, given_.parts), 2, np.random.default_rng(0))
    assert found.rows.shape == (2, 480, 640)
    assert found.rows.min() == 0


def test_extreme_part_sizes_accepted():
    """A part that fills the image and a part of a single pixel are accepted."""
    rgb = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)
    for spot in (np.s_[:, :], np.s_[7:8, 9:10]):
        rows = np.zeros((40, 56), np.int16)
        rows[spot] = 1
        parts = make_parts(MaskFile(rows.astype(np.int32), {}))
        found = dream_clip(Annotation(rgb, rows, parts), 3, np.random.default_rng(1))
        assert np.array_equal(found.rows[0], rows)


def test_thin_part_stays_visible():
    """A part a pixel thin stays visible in the images, not only in the labels."""
    rgb, rows = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.int16)
    rgb[10], rows[10] = 255, 1
    found = dream_clip(
        Annotation(rgb, rows, make_parts(MaskFile(rows.astype(np.int32), {}))), 2, np.random.default_rng(0)
    )
    assert found.rgb[0][10].mean() > 150


def test_tiny_part_keeps_full_size():
    """A part that would vanish in a reduced image keeps the full size."""
    rgb, rows = np.zeros((1440, 1500, 3), np.uint8), np.zeros((1440, 1500), np.int16)
    rows[720, 750] = 1
    found = dream_clip(
        Annotation(rgb, rows, make_parts(MaskFile(rows.astype(np.int32), {}))), 2, np.random.default_rng(0)
    )
    assert np.array_equal(found.rows[0], rows)
