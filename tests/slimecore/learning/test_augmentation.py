"""Augmented views: image and mask move together."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimecore.learning.augmentation import augmented_views, mirror_rows, one_hot_area
from slimecore.learning.probe_config import ViewConfig
from slimecore.types import Annotation, Parts

H, W = 48, 64
TONES = np.array([[40, 40, 40], [220, 60, 60], [60, 60, 220]], np.uint8)


def annotation(*names: str) -> Annotation:
    """Every part has its own colour, so a picture tells its mask."""
    rows = np.zeros((H, W), int)
    rows[10:30, 8:28] = 1
    rows[20:40, 36:56] = 2
    parts = Parts((0, 1, 2), ("background", *(names or ("a", "b"))), ((0, 0, 0),) * 3)
    return Annotation(TONES[rows], rows, parts)


def views(config: ViewConfig, seed: int = 0, size: tuple[int, int] = (H, W), names: tuple[str, ...] = ()):
    return augmented_views(annotation(*names), size, config, np.random.default_rng(seed))


def told_by_colour(rgb: np.ndarray) -> np.ndarray:
    return np.abs(rgb[..., None, :].astype(int) - TONES).sum(-1).argmin(-1)


def test_first_view_is_annotation() -> None:
    """The first view is the annotation itself."""
    rgb, rows = views(ViewConfig(count=2))
    assert rgb.shape == (3, H, W, 3)
    assert rgb.dtype == np.uint8
    assert rows.dtype == np.int16
    assert np.array_equal(rgb[0], annotation().rgb)
    assert np.array_equal(rows[0], annotation().rows)


def test_smaller_first_view_keeps_centroids() -> None:
    """A smaller first view keeps centroids."""
    rgb, rows = views(ViewConfig(count=0), size=(H // 2, W // 2))
    whole = annotation().rows
    for row in (1, 2):
        small = (np.argwhere(rows[0] == row) + 0.5).mean(0) * 2
        assert np.abs(small - (np.argwhere(whole == row) + 0.5).mean(0)).max() < 0.51
        assert np.abs((told_by_colour(rgb[0]) == row).mean() - (whole == row).mean()) < 0.02


@pytest.mark.parametrize("seed", range(4))
def test_mask_and_image_move_together(seed: int) -> None:
    """Mask and image move together."""
    rgb, rows = views(ViewConfig(count=4, color=0.0), seed)
    known = rows >= 0
    assert (told_by_colour(rgb)[known] == rows[known]).mean() > 0.97
    assert any(not np.array_equal(rows[0], view) for view in rows[1:])


def test_pixels_outside_image_ignored() -> None:
    """Pixels from outside the image are ignored."""
    _, rows = views(ViewConfig(count=1, scale=1.0, rotate=0.0, shift=0.3, color=0.0, mirror=False), seed=2)
    ignored = rows[1] == -1
    assert 0.02 < ignored.mean() < 0.6
    dy, dx = (np.argwhere(rows[1] == 1).min(0) - np.argwhere(rows[0] == 1).min(0)).tolist()
    y, x = np.mgrid[:H, :W]
    outside = (y - dy < 0) | (y - dy >= H) | (x - dx < 0) | (x - dx >= W)
    assert (ignored == outside).mean() > 0.95


def test_mirroring_swaps_counterparts() -> None:
    """Mirroring swaps counterparts."""
    still = ViewConfig(count=1, scale=1.0, rotate=0.0, shift=0.0, color=0.0)
    rgb, rows = views(still, names=("left arm", "Right arm"))
    assert (rgb[1] == rgb[0][:, ::-1]).all()
    assert (rows[1] == np.array([0, 2, 1])[rows[0][:, ::-1]]).all()
    _, shifted = views(ViewConfig(count=1, scale=1.0, rotate=0.0, shift=0.3, color=0.0), names=("l", "r"))
    assert (shifted[1] == -1).any()  # what lies outside stays ignored


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (("a", "b"), (0, 1, 2)),
        (("l_eye", "r_eye"), (0, 2, 1)),
        (("back_left_door", "back_right_door"), (0, 2, 1)),
        (("u_lip", "l_lip"), (0, 1, 2)),
        (("left arm", "a"), None),
        (("l_lip", "r_eye"), None),
        (("collar", "leftover"), (0, 1, 2)),
        (("arm (left)", "arm (right)"), (0, 2, 1)),
        (("arm (left)", "torso"), None),
        (("arm/left", "arm/right"), (0, 2, 1)),
        (("LeftArm", "RightArm"), (0, 2, 1)),
        (("ArmLeft", "leg"), None),
        (("left1", "right1"), (0, 2, 1)),
        (("arm_L2", "arm_R2"), (0, 2, 1)),
        (("leftarm", "rightarm"), (0, 2, 1)),
        (("brightness", "Lefty"), (0, 1, 2)),
        (("Äl", "bein_l"), None),
    ],
)
def test_mirror_rows_by_part_names(names: tuple[str, str], expected: tuple[int, ...] | None) -> None:
    """The rows of a mirrored image follow from the names of its parts."""
    assert mirror_rows(annotation(*names).parts) == expected


@pytest.mark.parametrize("names", [("left arm", "leg"), ("arm_l", "arm"), ("a", "Right")])
def test_sided_parts_without_counterpart_kept(names: tuple[str, str]) -> None:
    """Sided parts without a counterpart are never mirrored."""
    still = ViewConfig(count=3, scale=1.0, rotate=0.0, shift=0.0, color=0.0)
    _, sided = views(still, names=names)
    assert all(np.array_equal(view, sided[0]) for view in sided)
    _, free = views(still, names=("collar", "leftover"))
    assert any(np.abs(view - free[0][:, ::-1]).mean() < 0.1 for view in free[1:])
    _, off = views(ViewConfig(count=3, scale=1.0, rotate=0.0, shift=0.0, color=0.0, mirror=False))
    assert all(np.array_equal(view, off[0]) for view in off)


@pytest.mark.parametrize("names", [("part 1", "part 2"), ("linkes Auge", "rechtes Auge"), ("oeil gauche", "nez")])
def test_views_without_sides_not_mirrored(names: tuple[str, str]) -> None:
    """Views are mirrored only where left and right names make it safe."""
    still = ViewConfig(count=3, scale=1.0, rotate=0.0, shift=0.0, color=0.0, mirror_unsided=False)
    _, rows = views(still, names=names)
    assert all(np.array_equal(view, rows[0]) for view in rows)
    _, sided = views(still, names=("l_eye", "r_eye"))
    assert (sided[1] == np.array([0, 2, 1])[sided[0][:, ::-1]]).all()


def test_colour_jitter_keeps_labels_and_repeats() -> None:
    """Colour changes touch no label, and a seed repeats."""
    config = ViewConfig(count=2, scale=1.0, rotate=0.0, shift=0.0, color=0.3, mirror=False)
    rgb, rows = views(config)
    assert (rows == rows[0]).all()
    assert np.abs(rgb[1].astype(int) - rgb[0]).mean() > 3
    again, _ = views(config)
    other, _ = views(config, seed=1)
    assert np.array_equal(rgb, again)
    assert not np.array_equal(rgb, other)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(1, 5), st.integers(1, 6), st.integers(0, 99))
def test_area_fractions_match_counting(cell: int, cells: int, seed: int) -> None:
    """Area fractions match counting."""
    rows = np.random.default_rng(seed).integers(-1, 3, (cells * cell, (cells + 1) * cell))
    fractions, known = one_hot_area(rows, annotation().parts, (cells, cells + 1))
    for y in range(cells):
        for x in range(cells + 1):
            inside = rows[y * cell : (y + 1) * cell, x * cell : (x + 1) * cell]
            valid = np.count_nonzero(inside >= 0)
            assert known[y, x] == pytest.approx(valid / inside.size, abs=1e-5)
            for row in range(3):
                expected = np.count_nonzero(inside == row) / valid if valid else 0
                assert fractions[row, y, x] == pytest.approx(expected, abs=1e-4)
