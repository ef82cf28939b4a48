"""SLiMe's augmentation: the effect of each operation on image and labels."""

from __future__ import annotations

import numpy as np
import pytest

from slimecore.learning.faithful_config import AugmentConfig
from slimecore.learning.published_augmentation import published_view
from slimecore.types import Annotation, Parts

STILL = AugmentConfig(mirror=0, blur=0, crop=1.0, rotate=0)
COLORS = ((0, 0, 0), (255, 0, 0), (0, 255, 0))


def scene(names=("background", "left ear", "right ear")):
    """Left half part 1 and red, right half part 2 and green, on 40 x 60."""
    rows = np.zeros((40, 60), np.int16)
    rows[10:30, 5:25], rows[10:30, 35:55] = 1, 2
    rgb = np.asarray(COLORS, np.uint8)[rows]
    return Annotation(rgb, rows, Parts((0, 1, 2), names, COLORS))


def view(annotation, config, seed=0, part=1, size=(40, 60)):
    return published_view(annotation, size, config, part, np.random.default_rng(seed))


def test_augmentation_off_changes_nothing():
    """With every operation switched off the view equals the annotation."""
    rgb, rows = view(scene(), STILL)
    assert np.array_equal(rows, scene().rows)
    assert np.array_equal(rgb, scene().rgb)


def test_mirrored_view_swaps_sided_parts():
    """A mirrored view swaps left and right.

    The left ear of a mirrored image is where the right ear was, and shows the pixels of the right ear.
    """
    _, rows = view(scene(), AugmentConfig(mirror=1, blur=0, crop=1.0, rotate=0))
    assert np.array_equal(rows, scene().rows), "both ears lie symmetrically: labels look untouched"
    rgb, _ = view(scene(), AugmentConfig(mirror=1, blur=0, crop=1.0, rotate=0))
    assert tuple(rgb[20, 10]) == COLORS[2]


def test_unsided_parts_mirrored_unchanged():
    """Parts without sides are mirrored as they are."""
    _, rows = view(scene(("background", "wheel", "door")), AugmentConfig(mirror=1, blur=0, crop=1.0, rotate=0))
    assert np.array_equal(rows, scene().rows[:, ::-1])


def test_side_without_counterpart_never_mirrored():
    """An annotation with a left part but no right counterpart is never mirrored."""
    config = AugmentConfig(mirror=1, blur=0, crop=1.0, rotate=0)
    rgb, rows = view(scene(("background", "left ear", "nose")), config)
    assert np.array_equal(rows, scene().rows)
    assert np.array_equal(rgb, scene().rgb)


def test_crop_keeps_share_of_part():
    """A crop keeps its share of the requested part."""
    config = AugmentConfig(mirror=0, blur=0, crop=0.5, keep=0.9, rotate=0)
    for seed in range(20):
        _, rows = view(scene(), config, seed, part=2)
        # The view is enlarged by at least 1 and at most 2 a side.
        assert np.count_nonzero(rows == 2) >= 0.9 * 400 * 0.9
    lost = [np.count_nonzero(view(scene(), config, seed, part=2)[1] == 1) for seed in range(20)]
    assert min(lost) < 300, "the other part is cut off now and then, so the crops do move"


def test_rotation_marks_new_pixels_ignored():
    """Pixels that a rotation brings in from outside the image are ignored."""
    rgb, rows = view(scene(), AugmentConfig(mirror=0, blur=0, crop=1.0, rotate=1, degrees=30), seed=1)
    assert (rows[[0, 0, -1, -1], [0, -1, 0, -1]] == -1).any()
    assert set(np.unique(rows)) <= {-1, 0, 1, 2}
    assert np.count_nonzero(rows == 1) == pytest.approx(400, rel=0.15)
    inside = rows == 1
    assert (rgb[inside][:, 0] > 128).mean() > 0.95, "picture and labels turn together"


def test_blur_leaves_labels_unchanged():
    """Blur changes the image only."""
    config = AugmentConfig(mirror=0, blur=1, blur_size=5, crop=1.0, rotate=0)
    views = [view(scene(), config, seed) for seed in range(8)]
    assert all(np.array_equal(rows, scene().rows) for _, rows in views)
    assert any(not np.array_equal(rgb, scene().rgb) for rgb, _ in views)


def test_view_has_requested_size():
    """A view has the requested size."""
    rgb, rows = view(scene(), AugmentConfig(), size=(64, 64))
    assert rgb.shape == (64, 64, 3)
    assert rows.shape == (64, 64)
