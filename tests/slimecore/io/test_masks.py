"""Masks of every style people have become labels, honestly."""

import io
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image, ImageDraw, ImageFilter

from slimecore.errors import InputError
from slimecore.imaging.palette import davis_palette
from slimecore.io.masks import MaskFile, encode_mask, fit_mask, make_parts, read_mask, read_names, write_mask

QUICK = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
SHAPES = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12)
COLORS = [(0, 0, 0), (0, 0, 255), (0, 255, 0), (255, 0, 0)]  # in the order they are numbered


def labels_upto(top: int, side: int = 12):
    shapes = hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=side)
    return hnp.arrays(np.uint8, shapes, elements=st.integers(0, top))


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


# What we write


@QUICK
@given(labels_upto(254))
def test_indexed_png_round_trip_exact(tmp_path: Path, labels: np.ndarray) -> None:
    """An indexed PNG gives back exactly the labels that were written."""
    write_mask(tmp_path / "m.png", labels)
    assert np.array_equal(read_mask(tmp_path / "m.png").labels, labels)


def test_written_png_uses_davis_palette() -> None:
    """A written PNG is indexed with the DAVIS palette."""
    image = Image.open(io.BytesIO(encode_mask(np.arange(256).reshape(16, 16))))
    assert image.mode == "P"
    assert image.format == "PNG"
    palette = np.array(image.getpalette("RGB")).reshape(-1, 3)
    known = {0: (0, 0, 0), 1: (128, 0, 0), 2: (0, 128, 0), 3: (128, 128, 0), 4: (0, 0, 128), 8: (64, 0, 0)}
    assert {v: tuple(palette[v].tolist()) for v in known} == known
    assert tuple(palette[255].tolist()) == (224, 224, 192)
    assert len(np.unique(palette, axis=0)) == 256


# Values stay what they are


@QUICK
@given(hnp.arrays(np.int64, SHAPES, elements=st.integers(-1, 254)))
def test_npy_integers_keep_values(tmp_path: Path, labels: np.ndarray) -> None:
    """An npy of integers keeps its values."""
    np.save(tmp_path / "m.npy", labels)
    assert np.array_equal(read_mask(tmp_path / "m.npy").labels, labels)


@QUICK
@given(hnp.arrays(np.bool_, SHAPES))
def test_npy_booleans_are_part_one(tmp_path: Path, labels: np.ndarray) -> None:
    """An npy of booleans is part 1."""
    np.save(tmp_path / "m.npy", labels)
    assert np.array_equal(read_mask(tmp_path / "m.npy").labels, labels.astype(int))


def test_npy_fractional_floats_refused(tmp_path: Path) -> None:
    """An npy of whole floats is read, and of fractions refused."""
    np.save(tmp_path / "m.npy", np.array([[0.0, 2.0]]))
    assert read_mask(tmp_path / "m.npy").labels.tolist() == [[0, 2]]
    np.save(tmp_path / "m.npy", np.array([[0.0, 0.5]]))
    with pytest.raises(InputError, match="integers or booleans"):
        read_mask(tmp_path / "m.npy")


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_small_grey_values_kept(tmp_path: Path, dtype: type) -> None:
    """Small grey values are kept at any bit depth."""
    labels = np.random.default_rng(0).integers(0, 21, (9, 13))
    assert np.array_equal(read_mask(save(tmp_path / "m.png", labels.astype(dtype))).labels, labels)


def test_grey_ids_to_254_kept(tmp_path: Path) -> None:
    """Grey ids up to 254 are kept."""
    labels = np.kron(np.arange(255).reshape(15, 17), np.ones((6, 6), int))
    assert np.array_equal(read_mask(save(tmp_path / "m.png", labels.astype(np.uint8))).labels, labels)


def test_grey_ids_with_void_kept(tmp_path: Path) -> None:
    """Grey ids up to 254 are kept beside void pixels."""
    labels = np.kron(np.arange(256).reshape(16, 16), np.ones((6, 6), int))
    mask = read_mask(save(tmp_path / "m.png", labels.astype(np.uint8)))
    assert np.array_equal(mask.labels, np.where(labels == 255, -1, labels))


@settings(QUICK, max_examples=20)
@given(labels_upto(254, side=6))
def test_davis_palette_colours_become_ids(tmp_path: Path, cells: np.ndarray) -> None:
    """Colours of the DAVIS palette are read as its ids.

    Every id fills an area, as parts do.
    """
    labels = np.kron(cells, np.ones((4, 4), np.uint8))
    mask = read_mask(save(tmp_path / "m.png", davis_palette()[labels]))
    assert np.array_equal(mask.labels, labels)
    assert mask.notes == ()
    assert all(mask.colors[v] == tuple(davis_palette()[v].tolist()) for v in mask.values)


def test_all_davis_colours_read(tmp_path: Path) -> None:
    """All colours of the DAVIS palette are read at once."""
    labels = np.kron(np.arange(256).reshape(16, 16), np.ones((4, 4), int))
    mask = read_mask(save(tmp_path / "m.png", davis_palette()[labels]))
    assert np.array_equal(mask.labels, np.where(labels == 255, -1, labels))


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


# Black and white, void


@pytest.mark.parametrize("name", ["m.png", "m.bmp", "m.tif"])
def test_lone_255_is_part_one(tmp_path: Path, name: str) -> None:
    """A lone 255 is part 1."""
    truth = np.zeros((6, 9), np.uint8)
    truth[2:4, 3:7] = 1
    assert np.array_equal(read_mask(save(tmp_path / name, truth * 255)).labels, truth)


def test_lone_255_in_indexed_and_npy(tmp_path: Path) -> None:
    """A lone 255 in an indexed PNG and in an npy is part 1."""
    truth = np.eye(5, dtype=np.uint8)
    write_mask(tmp_path / "m.png", truth * 255)
    np.save(tmp_path / "m.npy", truth * 255)
    assert np.array_equal(read_mask(tmp_path / "m.png").labels, truth)
    assert np.array_equal(read_mask(tmp_path / "m.npy").labels, truth)


@pytest.mark.parametrize("kind", ["indexed", "grey", "npy"])
def test_255_beside_ids_is_void(tmp_path: Path, kind: str) -> None:
    """255 beside small ids is void."""
    raw = np.array([[0, 1, 2, 3], [255, 1, 0, 4]], np.uint8)
    path = tmp_path / ("m.npy" if kind == "npy" else "m.png")
    if kind == "npy":
        np.save(path, raw)
    elif kind == "indexed":
        write_mask(path, raw)
    else:
        save(path, raw)
    mask = read_mask(path)
    assert mask.labels.tolist() == [[0, 1, 2, 3], [-1, 1, 0, 4]]
    assert mask.values == (1, 2, 3, 4)
    assert "void" in mask.notes[0]


def test_black_and_white_of_other_depths(tmp_path: Path) -> None:
    """Black and white images of 1 and 16 bits are read."""
    truth = np.tri(7, 5, dtype=np.uint8)
    Image.fromarray(truth * 255).convert("1").save(tmp_path / "one.png")
    save(tmp_path / "wide.png", truth.astype(np.uint16) * 65535)
    for name in ("one.png", "wide.png"):
        assert np.array_equal(read_mask(tmp_path / name).labels, truth), name


def test_16_bit_instance_ids_numbered(tmp_path: Path) -> None:
    """16-bit instance ids are numbered.

    Cityscapes and KITTI write class * 1000 + instance.
    """
    truth = np.kron(np.array([[0, 1, 2], [3, 0, 2]]), np.ones((6, 6), int))
    raw = np.array([0, 11000, 26001, 26002], np.uint16)[truth]
    mask = read_mask(save(tmp_path / "m.png", raw))
    assert np.array_equal(mask.labels, truth)
    assert "26001=2" in mask.notes[0]


def test_16_bit_ids_with_void(tmp_path: Path) -> None:
    """Small 16-bit ids are kept beside a 16-bit void."""
    raw = np.array([[0, 1, 2, 65535]], np.uint16)
    assert read_mask(save(tmp_path / "m.png", raw)).labels.tolist() == [[0, 1, 2, -1]]


def test_16_bit_antialiased_mask_recovered(tmp_path: Path) -> None:
    """The labels of a 16-bit anti-aliased black and white mask are recovered."""
    picture, truth = drawn([0, 255])
    raw = np.array(picture).astype(np.uint16) * 257
    assert_same_away_from_borders(read_mask(save(tmp_path / "m.png", raw)).labels, truth)


# Colours, greys, transparency


def test_spread_greys_numbered_with_note(tmp_path: Path) -> None:
    """Spread grey levels are numbered with a note."""
    truth = np.kron(np.array([[0, 1], [2, 1]]), np.ones((5, 5), int))
    mask = read_mask(save(tmp_path / "m.png", np.array([0, 85, 170], np.uint8)[truth]))
    assert np.array_equal(mask.labels, truth)
    assert "85, 170 are numbered 1..2" in mask.notes[0]


def test_other_colours_numbered_with_note(tmp_path: Path) -> None:
    """Colours outside the palette are numbered with a note."""
    truth = np.kron(np.array([[0, 1, 2], [3, 1, 0]]), np.ones((4, 4), int))
    mask = read_mask(save(tmp_path / "m.png", np.array(COLORS, np.uint8)[truth]))
    assert np.array_equal(mask.labels, truth)
    assert mask.colors == dict(enumerate(COLORS[1:], start=1))
    assert "#0000ff=1, #00ff00=2, #ff0000=3" in mask.notes[0]


def test_transparent_pixels_are_background(tmp_path: Path) -> None:
    """Transparent pixels are background."""
    rgba = np.zeros((8, 8, 4), np.uint8)
    rgba[...] = (0, 255, 0, 0)
    rgba[2:6, 2:6] = (255, 0, 0, 255)
    labels = read_mask(save(tmp_path / "m.png", rgba)).labels
    assert labels.sum() == 16
    assert (labels[2:6, 2:6] == 1).all()


def test_grey_with_alpha_read(tmp_path: Path) -> None:
    """Grey images with alpha are read."""
    la = np.zeros((6, 6, 2), np.uint8)
    la[..., 0] = 255
    la[1:4, 1:5, 1] = 255
    Image.fromarray(la, "LA").save(tmp_path / "m.png")
    labels = read_mask(tmp_path / "m.png").labels
    assert (labels[1:4, 1:5] == 1).all()
    assert labels.sum() == 12


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


def test_value_beyond_indexed_png_refused(tmp_path: Path) -> None:
    """A value beyond the range of an indexed PNG is refused."""
    np.save(tmp_path / "m.npy", np.array([[0, 300]]))
    with pytest.raises(InputError, match=r"m\.npy: part value 300"):
        read_mask(tmp_path / "m.npy")


@pytest.mark.parametrize("name", ["m.png", "m.jpg", "m.bmp", "m.webp", "m.npy"])
def test_truncated_mask_error_single_line(tmp_path: Path, name: str) -> None:
    """Unreadable and truncated files are refused in a single line."""
    path, labels = tmp_path / name, np.random.default_rng(0).integers(0, 4, (40, 40)).astype(np.uint8)
    np.save(path, labels) if name.endswith("npy") else save(path, labels)
    whole = path.read_bytes()
    cuts = [whole[:n] for n in range(1, len(whole) * 3 // 4, len(whole) // 20 + 1)]
    for content in (b"", b"not an image\nat all", *cuts):
        path.write_bytes(content)
        with pytest.raises(InputError) as caught:
            read_mask(path)
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["gone.png", "gone.npy"])
def test_missing_mask_named(tmp_path: Path, name: str) -> None:
    """A missing mask is named."""
    with pytest.raises(InputError, match=f"no such file.*{name}"):
        read_mask(tmp_path / name)


def test_npy_images_and_objects_refused(tmp_path: Path) -> None:
    """An npy of images or objects is refused."""
    np.save(tmp_path / "m.npy", np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match=r"must be \(h, w\)"):
        read_mask(tmp_path / "m.npy")
    np.save(tmp_path / "m.npy", np.array([[{}]], object), allow_pickle=True)
    with pytest.raises(InputError, match="cannot read"):
        read_mask(tmp_path / "m.npy")


# Fitting


def test_fit_mask_resizes_with_note() -> None:
    """A mask of another size is fitted with a note."""
    labels = np.kron(np.array([[0, 1], [2, 0]]), np.ones((10, 15), np.int32)).astype(np.int32)
    mask = fit_mask(MaskFile(labels, {}), (40, 60), "m.png")
    assert np.array_equal(mask.labels, np.kron(labels, np.ones((2, 2), int)))
    assert "30x20 fitted to 60x40" in mask.notes[0]


def test_fit_mask_keeps_equal_size() -> None:
    """A mask of the same size is untouched."""
    mask = MaskFile(np.eye(4, dtype=np.int32), {})
    assert fit_mask(mask, (4, 4), "m.png") is mask


def test_fit_mask_refuses_other_aspect() -> None:
    """A mask of another aspect ratio is refused."""
    with pytest.raises(InputError, match=r"m\.png: the mask is 30x20 but the picture is 60x20"):
        fit_mask(MaskFile(np.ones((20, 30), np.int32), {}), (20, 60), "m.png")


@pytest.mark.parametrize("value", [0, -1])
def test_empty_mask_refused_by_name(value: int) -> None:
    """An empty mask is refused by name."""
    with pytest.raises(InputError, match=r"m\.png: the mask is empty"):
        fit_mask(MaskFile(np.full((4, 4), value, np.int32), {}), (4, 4), "m.png")


def test_empty_mask_file_refused(tmp_path: Path) -> None:
    """An empty mask file is refused after reading."""
    mask = read_mask(save(tmp_path / "m.png", np.zeros((4, 4), np.uint8)))
    with pytest.raises(InputError, match="empty"):
        fit_mask(mask, (4, 4), "m.png")


def test_exif_rotated_mask_turned(tmp_path: Path) -> None:
    """A mask with an EXIF rotation turns like its image."""
    image = Image.fromarray(np.tri(4, 6, dtype=np.uint8))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "m.png", exif=exif)
    assert np.array_equal(read_mask(tmp_path / "m.png").labels, np.rot90(np.tri(4, 6, dtype=int), -1))


# Parts and names


def test_make_parts_keeps_values_and_names() -> None:
    """Parts of a mask keep values, names and colours."""
    parts = make_parts(MaskFile(np.array([[0, 7, 2, -1]], np.int32), {}), {7: "head"})
    assert parts.values == (0, 2, 7)
    assert parts.names == ("background", "part 2", "head")
    assert parts.colors == ((0, 0, 0), (0, 128, 0), (128, 128, 128))


def test_names_read_from_json(tmp_path: Path) -> None:
    """Names are read from JSON."""
    (tmp_path / "n.json").write_text(json.dumps({"1": "Kopf", "2": "Füße"}), encoding="utf-8")
    assert read_names(tmp_path / "n.json") == {1: "Kopf", 2: "Füße"}


@pytest.mark.parametrize("text", ["[1]", "{", '{"head": 1}', "\xff"])
def test_malformed_names_refused(tmp_path: Path, text: str) -> None:
    """Malformed name files are refused."""
    (tmp_path / "n.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=r"n\.json"):
        read_names(tmp_path / "n.json")


def test_missing_names_file_refused(tmp_path: Path) -> None:
    """A missing name file is refused."""
    with pytest.raises(InputError, match="no such file"):
        read_names(tmp_path / "n.json")


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


def test_parts_lost_by_fitting_refused(tmp_path):
    """Parts lost by fitting are an error."""
    labels = np.zeros((400, 400), np.int32)
    labels[:200] = 1
    labels[301, 301] = 2
    with pytest.raises(InputError, match="parts 2 are too small"):
        fit_mask(MaskFile(labels, {}), (100, 100), "mask")
