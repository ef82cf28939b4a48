"""Labels recovered from anti-aliased, blurred and JPEG masks, and photographs refused."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFilter

from slimecore.errors import InputError
from slimecore.imaging.palette import davis_palette
from slimecore.io.masks import read_mask

COLORS = [(0, 0, 0), (0, 0, 255), (0, 255, 0), (255, 0, 0)]  # in the order they are numbered


def save(path: Path, array: np.ndarray) -> Path:
    Image.fromarray(array).save(path)
    return path


def drawn(colors: list, *, grow: int = 4, size: tuple[int, int] = (120, 160), resample: int = Image.Resampling.BOX):
    """A picture drawn at `grow` times its size and shrunk, and its labels."""
    h, w = size
    picture = Image.new("RGB" if isinstance(colors[0], tuple) else "L", (w * grow, h * grow), colors[0])
    truth = Image.new("L", picture.size, 0)
    shapes = [
        ("ellipse", [20.3, 15.2, 70.7, 60.1]),
        ("polygon", [60.3, 70.2, 110.9, 40.4, 90.2, 108.7]),
        ("rectangle", [105.5, 10.25, 145.5, 35.5]),
    ]
    for value, (color, (kind, points)) in enumerate(zip(colors[1:], shapes, strict=False), start=1):
        scaled = [p * grow * (h / 120) for p in points]
        getattr(ImageDraw.Draw(picture), kind)(scaled, fill=color)
        getattr(ImageDraw.Draw(truth), kind)(scaled, fill=value)
    exact = np.array(truth)[grow // 2 :: grow, grow // 2 :: grow].astype(int)
    return picture.resize((w, h), resample), exact


def assert_same_away_from_borders(labels: np.ndarray, truth: np.ndarray, reach: int = 2) -> None:
    window = np.ones((2 * reach + 1,) * 2, np.uint8)
    border = cv2.morphologyEx(truth.astype(np.uint8), cv2.MORPH_GRADIENT, window) > 0
    assert set(np.unique(labels)) == set(np.unique(truth)), "an id was invented or lost"
    assert not (labels != truth)[~border].any(), "labels differ away from every border"
    assert (labels != truth).mean() < 0.06, "too many labels differ at borders"


def test_thin_exact_part_kept(tmp_path: Path) -> None:
    """Thin parts of exact colours survive.

    A one-pixel line of its own colour is a part, not a blend.
    """
    rgb = np.zeros((40, 50, 3), np.uint8)
    rgb[10:30, 10:40] = (255, 0, 0)
    rgb[5, 5:45] = (0, 0, 255)
    labels = read_mask(save(tmp_path / "m.png", rgb)).labels
    assert (labels[5, 5:45] == 1).all()
    assert (labels[10:30, 10:40] == 2).all()
    assert np.count_nonzero(labels) == 40 + 600


def test_16_bit_antialiased_mask_recovered(tmp_path: Path) -> None:
    """The labels of a 16-bit anti-aliased black and white mask are recovered."""
    picture, truth = drawn([0, 255])
    raw = np.array(picture).astype(np.uint16) * 257
    assert_same_away_from_borders(read_mask(save(tmp_path / "m.png", raw)).labels, truth)


# Anti-aliasing and JPEG

STYLES = {
    "white": [0, 255],
    "greys": [0, 85, 170],
    "colours": COLORS,
    "davis": [tuple(c) for c in davis_palette()[:4].tolist()],
}


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("size", [(60, 80), (240, 320)])
@pytest.mark.parametrize("resample", [Image.Resampling.BOX, Image.Resampling.LANCZOS])
def test_antialiased_labels_recovered(tmp_path: Path, style: str, size: tuple[int, int], resample: int) -> None:
    """The labels of anti-aliased masks are recovered."""
    picture, truth = drawn(STYLES[style], size=size, resample=resample)
    picture.save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert_same_away_from_borders(mask.labels, truth)
    assert "in-between" in mask.notes[-1]


def test_straight_antialiased_border_not_a_part(tmp_path: Path) -> None:
    """A straight anti-aliased border is no part.

    Few colours, and the blend covers a long line: still a blend.
    """
    rgb = np.zeros((40, 60, 3), np.uint8)
    rgb[10:30, 10:50, 0] = 255
    rgb[9, 10:50, 0] = 128
    labels = read_mask(save(tmp_path / "m.png", rgb)).labels
    assert set(np.unique(labels)) == {0, 1}
    assert (labels[10:30, 10:50] == 1).all()


@pytest.mark.parametrize("style", STYLES)
@pytest.mark.parametrize("quality", [50, 75, 95])
@pytest.mark.parametrize("size", [(60, 80), (240, 320)])
def test_jpeg_labels_recovered(tmp_path: Path, style: str, quality: int, size: tuple[int, int]) -> None:
    """The labels of JPEG masks are recovered."""
    picture, truth = drawn(STYLES[style], grow=1, size=size)
    picture.save(tmp_path / "m.jpg", quality=quality)
    labels = read_mask(tmp_path / "m.jpg").labels
    assert_same_away_from_borders(labels, truth, reach=3)


@pytest.mark.parametrize("sigma", [1, 2, 4])
def test_blurred_mask_cut_at_middle(tmp_path: Path, sigma: int) -> None:
    """A blurred black and white mask is cut at the middle level.

    All grey levels occur, and still the mask has a single part and no void.
    """
    picture, truth = drawn([0, 255], grow=1, size=(480, 640))
    picture.filter(ImageFilter.GaussianBlur(sigma)).save(tmp_path / "m.png")
    assert len(np.unique(np.array(Image.open(tmp_path / "m.png")))) > 60
    assert_same_away_from_borders(read_mask(tmp_path / "m.png").labels, truth, reach=3)


def test_enlarged_soft_mask_cut_at_middle(tmp_path: Path) -> None:
    """A small soft mask that was enlarged is cut at the middle level."""
    picture, truth = drawn([0, 255], grow=1, size=(480, 640))
    soft = picture.resize((80, 60), Image.Resampling.BOX).resize((640, 480), Image.Resampling.BILINEAR)
    soft.save(tmp_path / "m.png")
    assert_same_away_from_borders(read_mask(tmp_path / "m.png").labels, truth, reach=5)


# Refusals


def test_photograph_refused(tmp_path: Path) -> None:
    """A photograph is refused."""
    noise = np.random.default_rng(0).normal(0, 1, (120, 160, 3))
    photo = (128 + 900 * cv2.GaussianBlur(noise, (0, 0), 6)).clip(0, 255).astype(np.uint8)
    for name, picture in (("m.png", photo), ("grey.png", photo[..., 0]), ("m.jpg", photo)):
        with pytest.raises(InputError, match=rf"{name}: this looks like a photograph"):
            read_mask(save(tmp_path / name, picture))


def test_photograph_with_flat_areas_refused(tmp_path: Path) -> None:
    """A photograph with large flat areas is refused.

    Two thirds of it lie near some twenty levels, as in an image before a plain wall. Masks are flatter.
    """
    rng = np.random.default_rng(0)
    picture = np.repeat(rng.integers(0, 256, (1, 20, 3)), 16, 1).repeat(240, 0).astype(float)
    picture[156:] = 128 + 700 * cv2.GaussianBlur(rng.normal(0, 1, (84, 320, 3)), (0, 0), 5)
    Image.fromarray(picture.clip(0, 255).astype(np.uint8)).save(tmp_path / "m.jpg", quality=90)
    with pytest.raises(InputError, match="looks like a photograph"):
        read_mask(tmp_path / "m.jpg")


def test_too_many_colours_refused(tmp_path: Path) -> None:
    """Too many colours are refused."""
    cells = np.stack(np.meshgrid(np.arange(20) * 12, np.arange(20) * 12, [7]), -1).reshape(20, 20, 3)
    with pytest.raises(InputError, match="too many"):
        read_mask(save(tmp_path / "m.png", np.kron(cells, np.ones((4, 4, 1), int)).astype(np.uint8)))


def test_thin_palette_part_kept(tmp_path):
    """A thin part in exact palette colours is kept.

    Eight flat DAVIS colours and a two-pixel line are ids, not noise.
    """
    labels = np.zeros((120, 180), np.uint8)
    for part in range(1, 8):
        labels[10:60, 20 * part : 20 * part + 15] = part
    labels[80:82, 20:80] = 8
    Image.fromarray(davis_palette()[labels]).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert np.array_equal(mask.labels, labels)
