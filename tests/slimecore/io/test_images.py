"""Reading and listing images."""

import random
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, features

from slimecore.errors import InputError
from slimecore.io.images import list_images, natural_key, read_rgb, unread_note

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


def test_unread_formats_are_named(tmp_path: Path) -> None:
    """Pictures in formats that are not read are named."""
    assert unread_note(tmp_path) == []
    for name in ("a.png", "b.HEIC", "c.psd", "notes.txt"):
        (tmp_path / name).touch()
    (note,) = unread_note(tmp_path)
    assert "b.HEIC, c.psd left out" in note


@pytest.mark.parametrize("name", ["a.jfif", "a.jpe", "a.gif", "a.avif", "a.jp2"])
def test_rarer_formats_are_listed(tmp_path: Path, name: str) -> None:
    """Pictures of the rarer formats that Pillow decodes are listed and read."""
    if not features.check({"a.avif": "avif", "a.jp2": "jpg_2000"}.get(name, "jpg")):
        pytest.skip("this Pillow lacks the decoder")
    Image.new("RGB", (16, 16), (200, 30, 30)).save(
        tmp_path / name, **({"format": "JPEG"} if name in {"a.jfif", "a.jpe"} else {})
    )
    (path,) = list_images(tmp_path)
    assert np.abs(read_rgb(path).astype(int) - (200, 30, 30)).max() < 12


def test_large_picture_refused_before_decoding(tmp_path: Path) -> None:
    """A picture of more than 134 megapixels is refused by its size."""
    Image.new("1", (13000, 13000)).save(tmp_path / "a.png")
    with pytest.raises(InputError, match="13000x13000 pixels are more than 134 megapixels"):
        read_rgb(tmp_path / "a.png")


def test_depth_of_deep_grey_guessed(tmp_path: Path) -> None:
    """A grey picture of 12 bits is as bright as in 8 bits, where the depth may be guessed."""
    Image.fromarray(np.array([[0, 4095, 2048]], np.uint16)).save(tmp_path / "a.tif")
    assert read_rgb(tmp_path / "a.tif", guess_depth=True)[0, :, 0].tolist() == [0, 255, 128]
    assert read_rgb(tmp_path / "a.tif")[0, :, 0].tolist() == [0, 16, 8]


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
