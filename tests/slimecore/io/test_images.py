"""Pictures on disk, and one honest half-pixel rule."""

import random
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from slimecore.errors import InputError
from slimecore.imaging.boxes import uncertain_box
from slimecore.imaging.resize import fit_short_side, resize_labels, resize_rgb, resize_soft
from slimecore.io.images import list_images, natural_key, read_rgb

QUICK = settings(max_examples=40, deadline=None, derandomize=True)
RNG = np.random.default_rng(0)


def test_natural_key_orders_numbers() -> None:
    """Natural order compares numbers by value."""
    ordered = ["1.png", "2.png", "10.png", "a1b2.png", "a1b10.png", "a2.png", "B3.png", "frame9.png", "frame010.png"]
    shuffled = random.Random(1).sample(ordered, len(ordered))
    assert sorted(shuffled, key=natural_key) == ordered


def test_image_listing_order_is_stable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder lists images only, always in the same order.

    The order does not depend on the file system: 1.png and 01.png count alike.
    """
    for name in ["10.PNG", "2.jpg", "1.png", "01.png", ".hidden.png", "notes.txt", "3.tiff"]:
        (tmp_path / name).touch()
    expected = ["01.png", "1.png", "2.jpg", "3.tiff", "10.PNG"]
    files = sorted(tmp_path.iterdir())
    for order in (files, files[::-1]):
        monkeypatch.setattr(Path, "iterdir", lambda _, order=order: iter(order))
        assert [p.name for p in list_images(tmp_path)] == expected


# Resizing


def ramp(size: tuple[int, int]) -> np.ndarray:
    """Value = position of the pixel's centre as a share of the picture, down and across."""
    h, w = size
    y, x = np.meshgrid((np.arange(h) + 0.5) / h, (np.arange(w) + 0.5) / w, indexing="ij")
    return np.stack([y, x]).astype(np.float32)


SIDES = st.integers(4, 40)


@QUICK
@given(SIDES, SIDES, SIDES, SIDES)
def test_resize_keeps_positions(h: int, w: int, to_h: int, to_w: int) -> None:
    """Resizing moves nothing.

    A ramp stays the same ramp wherever the source has samples on both sides. Exactly so when enlarged. An area average
    of whole source pixels is off by an eighth of a pixel at most.
    """
    resized, expected = resize_soft(ramp((h, w)), (to_h, to_w)), ramp((to_h, to_w))
    inside = (
        (expected[0] * h >= 0.5)
        & (expected[0] * h <= h - 0.5)
        & (expected[1] * w >= 0.5)
        & (expected[1] * w <= w - 0.5)
    )
    off = np.abs(resized - expected)[:, inside] * np.array([[h], [w]])
    assert off.max() < (0.126 if to_h <= h and to_w <= w else 2e-3)
    assert np.abs(resized.mean((1, 2)) - 0.5).max() < 1e-4, "the centroid moved"


@QUICK
@given(SIDES, SIDES, st.integers(1, 4), st.integers(0, 99))
def test_labels_survive_enlarging_and_shrinking(h: int, w: int, factor: int, seed: int) -> None:
    """Labels enlarged and shrunk again are the same."""
    labels = np.random.default_rng(seed).integers(-1, 255, (h, w)).astype(np.int32)
    large = resize_labels(labels, (h * factor, w * factor))
    assert np.array_equal(large, np.kron(labels, np.ones((factor, factor), int)))
    assert np.array_equal(resize_labels(large, (h, w)), labels)
    assert large.dtype == labels.dtype


@QUICK
@given(SIDES, SIDES, SIDES, SIDES)
def test_resized_labels_taken_at_pixel_centre(h: int, w: int, to_h: int, to_w: int) -> None:
    """Resized labels are those under the pixel centre.

    Where a centre falls on the border of two source pixels, either label is right.
    """
    labels = np.arange(h * w).reshape(h, w)
    y, y_tie = np.divmod((2 * np.arange(to_h) + 1) * h, 2 * to_h)
    x, x_tie = np.divmod((2 * np.arange(to_w) + 1) * w, 2 * to_w)
    clear = (y_tie[:, None] > 0) & (x_tie[None] > 0)
    clear |= (to_h, to_w) == (h, w)
    assert np.array_equal(resize_labels(labels, (to_h, to_w))[clear], labels[y[:, None], x[None]][clear])


@QUICK
@given(st.integers(1, 7), SIDES, SIDES, SIDES, SIDES)
def test_soft_resize_keeps_sum(parts: int, h: int, w: int, to_h: int, to_w: int) -> None:
    """Soft maps keep their sum over parts."""
    soft = RNG.dirichlet(np.ones(parts), (h, w)).transpose(2, 0, 1).astype(np.float32)
    resized = resize_soft(soft, (to_h, to_w))
    assert resized.shape == (parts, to_h, to_w)
    assert np.abs(resized.sum(0) - 1).max() < 1e-5
    assert resized.min() >= 0


def test_resize_independent_of_plane_count() -> None:
    """Few and many planes are resized alike."""
    soft = RNG.random((6, 9, 13)).astype(np.float32)
    assert np.allclose(resize_soft(soft, (5, 20))[:2], resize_soft(soft[:2], (5, 20)), atol=1e-6)


def test_shrinking_averages_every_pixel() -> None:
    """Shrinking averages every pixel."""
    rgb = RNG.integers(0, 256, (8, 12, 3)).astype(np.float32)
    expected = rgb.reshape(4, 2, 4, 3, 3).mean((1, 3))
    assert np.allclose(resize_rgb(rgb, (4, 4)), expected, atol=1e-3)


@QUICK
@given(st.integers(1, 3000), st.integers(1, 3000), st.integers(32, 1080), st.sampled_from([1, 8, 64]))
def test_fitted_size_multiple_and_bounded(h: int, w: int, short: int, multiple: int) -> None:
    """The network size is a multiple of the grid step and never larger than requested."""
    fitted = fit_short_side((h, w), short, multiple)
    factor = min(1, short / min(h, w))
    for side, new in zip((h, w), fitted, strict=True):
        assert new % multiple == 0
        assert new >= multiple
        assert new == multiple or abs(new - side * factor) <= multiple / 2 + 1e-6
        assert new <= max(multiple, side + multiple / 2)


# Reading


@pytest.mark.parametrize(
    ("orientation", "turn"),
    [(1, lambda a: a), (2, np.fliplr), (3, lambda a: np.rot90(a, 2)), (6, lambda a: np.rot90(a, -1)), (8, np.rot90)],
)
@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_exif_rotation_applied(tmp_path: Path, orientation: int, turn, name: str) -> None:
    """The EXIF rotation is applied."""
    rgb = RNG.integers(0, 256, (6, 9, 3)).astype(np.uint8)
    image = Image.fromarray(rgb)
    exif = image.getexif()
    exif[0x0112] = orientation
    image.save(tmp_path / name, exif=exif)
    assert np.array_equal(read_rgb(tmp_path / name), turn(rgb))


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (np.array([[0, 65535, 32896]], np.uint16), [0, 255, 128]),
        (np.array([[0, 200, 7]], np.uint16), [0, 200, 7]),
        (np.array([[0.0, 1.0, 0.5]], np.float32), [0, 255, 128]),
        (np.array([[0, 255, 9]], np.uint8), [0, 255, 9]),
    ],
)
def test_grey_of_any_depth_becomes_rgb(tmp_path: Path, array: np.ndarray, expected: list[int]) -> None:
    """Grey images of any depth become 8-bit RGB."""
    path = tmp_path / "a.tif"
    Image.fromarray(array).save(path)
    rgb = read_rgb(path)
    assert rgb.shape == (1, 3, 3)
    assert rgb.dtype == np.uint8
    assert rgb[0].tolist() == [[v] * 3 for v in expected]


def test_transparency_composited_over_black(tmp_path: Path) -> None:
    """Transparent pixels are composited over black."""
    rgba = np.array([[(200, 100, 50, 255), (200, 100, 50, 0)]], np.uint8)
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert read_rgb(tmp_path / "a.png").tolist() == [[[200, 100, 50], [0, 0, 0]]]


@pytest.mark.parametrize("mode", ["P", "CMYK", "L", "1", "LA"])
def test_every_image_mode_becomes_rgb(tmp_path: Path, mode: str) -> None:
    """Images of every mode become RGB."""
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    white = Image.new("RGBA" if mode == "LA" else "RGB", (3, 2), (255, 255, 255)).convert(mode)
    white.save(path)
    assert (read_rgb(path) == 255).all()
    assert read_rgb(path).shape == (2, 3, 3)


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.webp"])
def test_broken_image_error_single_line(tmp_path: Path, name: str) -> None:
    """Broken images are refused in a single line."""
    path = tmp_path / name
    Image.fromarray(RNG.integers(0, 256, (30, 30, 3)).astype(np.uint8)).save(path)
    whole = path.read_bytes()
    for content in (b"", b"text\nmore", *(whole[:n] for n in range(1, len(whole) * 3 // 4, len(whole) // 20))):
        path.write_bytes(content)
        with pytest.raises(InputError, match="cannot read") as caught:
            read_rgb(path)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_missing_or_oversized_images_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Missing images, folders and decompression bombs are refused."""
    with pytest.raises(InputError, match="no such file"):
        read_rgb(tmp_path / "a.png")
    with pytest.raises(InputError, match="cannot read"):
        read_rgb(tmp_path)
    Image.new("L", (40, 40)).save(tmp_path / "a.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(InputError, match="cannot read"):
        read_rgb(tmp_path / "a.png")


def test_uncertain_box_has_margin():
    """Undecided pixels lie in a box with a margin."""
    soft = np.stack([np.ones((20, 30)), np.zeros((20, 30))]).astype(np.float32)
    assert uncertain_box(soft, 3) is None
    soft[:, 5, 28] = 0.5
    soft[:, 8, 20] = 0.5
    assert uncertain_box(soft, 3) == (slice(2, 12), slice(17, 30))
