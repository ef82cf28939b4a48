"""Masks of every style become labels."""

import io
import json
import os
from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from slimecore.errors import InputError
from slimecore.imaging.palette import davis_palette
from slimecore.io.images import open_image
from slimecore.io.masks import MaskFile, annotate, encode_mask, fit_mask, make_parts, read_mask, read_names, write_mask

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

    Every id fills an area, as parts do. An image of the palette's greys alone is read as a grey mask.
    """
    assume(np.ptp(davis_palette()[cells], axis=-1).any())
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


def test_16_bit_instance_ids_kept(tmp_path: Path) -> None:
    """16-bit instance ids keep their values.

    Cityscapes and KITTI write class * 1000 + instance.
    """
    truth = np.kron(np.array([[0, 1, 2], [3, 0, 2]]), np.ones((6, 6), int))
    raw = np.array([0, 11000, 26001, 26002], np.uint16)[truth]
    mask = read_mask(save(tmp_path / "m.png", raw))
    assert np.array_equal(mask.labels, raw)
    assert not mask.values_are_arbitrary


def test_16_bit_ids_with_void(tmp_path: Path) -> None:
    """Small 16-bit ids are kept beside a 16-bit void."""
    raw = np.array([[0, 1, 2, 65535]], np.uint16)
    assert read_mask(save(tmp_path / "m.png", raw)).labels.tolist() == [[0, 1, 2, -1]]


@pytest.mark.parametrize("ids", [(5, 150), (150,), (5, 150, 200), (2, 300), (300, 1000)])
def test_grey_ids_of_data_sets_kept(tmp_path: Path, ids: tuple[int, ...]) -> None:
    """Grey ids of data sets keep their values, of 8 and of 16 bits."""
    labels = np.kron(np.array([[0, *ids]]), np.ones((6, 6), int))
    dtype = np.uint8 if max(ids) < 256 else np.uint16
    mask = read_mask(save(tmp_path / "m.png", labels.astype(dtype)))
    assert np.array_equal(mask.labels, labels)
    assert not mask.values_are_arbitrary
    write_mask(tmp_path / "again.png", labels)
    assert np.array_equal(read_mask(tmp_path / "again.png").labels, labels)


def test_12_bit_white_is_part_one(tmp_path: Path) -> None:
    """White of 12 bits is part 1, with anti-aliased rims too, and 8-bit ids saved as 16 bits are kept."""
    truth = disc(0.7).astype(int)
    for name, raw in (("flat", truth * 4095), ("soft", cv2.GaussianBlur(truth * 4095.0, (0, 0), 1.0).round())):
        mask = read_mask(save(tmp_path / f"{name}.tif", raw.astype(np.uint16)))
        assert mask.is_binary_255, name
        assert (mask.labels == truth).mean() > 0.99, name
    ids = np.kron(np.array([[0, 1, 2]]), np.ones((6, 6), int))
    assert np.array_equal(read_mask(save(tmp_path / "i.png", (ids * 257).astype(np.uint16))).labels, ids)


# Indexed by an image program, lossy, opaque black


def disc(reach: float = 0.5) -> np.ndarray:
    y, x = np.mgrid[-1:1:48j, -1:1:64j]
    return (y * y + x * x < reach * reach).astype(np.uint8)


def indexed(path: Path, indices: np.ndarray, *colors: tuple[int, int, int]) -> Path:
    image = Image.fromarray(indices.astype(np.uint8), mode="P")
    image.putpalette([c for color in colors for c in color])
    image.save(path)
    return path


@pytest.mark.parametrize("name", ["m.png", "m.gif"])
@pytest.mark.parametrize("background", [(0, 0, 0), (255, 255, 255), (90, 160, 90)])
def test_part_at_entry_zero_recognised(tmp_path: Path, name: str, background: tuple[int, int, int]) -> None:
    """A part at entry 0 of a palette is a part: black, or else the colour along the border, is background."""
    truth = disc()
    mask = read_mask(indexed(tmp_path / name, 1 - truth, (255, 0, 0), background))
    assert np.array_equal(mask.labels > 0, truth > 0)
    assert "entry 0" in mask.notes[0]


def test_healthy_palettes_keep_indices(tmp_path: Path) -> None:
    """Indices stay where entry 0 is black or lies along the border."""
    labels = disc() * 3
    colors = [(0, 200, 9), (250, 8, 9), (9, 8, 250)]
    for background in ((0, 0, 0), (255, 255, 255), (90, 160, 90)):
        mask = read_mask(indexed(tmp_path / "m.png", labels, background, *colors))
        assert np.array_equal(mask.labels, labels), background
        assert mask.notes == ()


def test_ambiguous_background_refused(tmp_path: Path) -> None:
    """A palette without black, whose entry 0 shares the border with others, is refused."""
    halves = np.kron(np.array([[1, 1, 0]]), np.ones((30, 10), int))
    with pytest.raises(InputError, match="may be a part or the background"):
        read_mask(indexed(tmp_path / "m.png", halves, (200, 0, 0), (0, 200, 0)))


def test_antialiased_palette_read_by_colour(tmp_path: Path) -> None:
    """Blends in the palette of an anti-aliased mask are no parts."""
    soft = cv2.GaussianBlur(disc()[..., None].repeat(3, 2) * np.float32([250, 0, 0]), (0, 0), 1.0).round()
    Image.fromarray(soft.astype(np.uint8)).quantize(16).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert mask.values == (1,)
    assert (mask.labels == disc()).mean() > 0.97


@pytest.mark.parametrize("mode", ["1", "P"])
def test_dithered_mask_refused(tmp_path: Path, mode: str) -> None:
    """A mask that was converted with dithering is refused."""
    rgb = disc()[..., None] * np.uint8([128, 70, 0])
    Image.fromarray(rgb).convert(mode).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="dithering"):
        read_mask(tmp_path / "m.png")


def test_thin_lines_are_not_dithering(tmp_path: Path) -> None:
    """Diagonal lines of one pixel are no dithering."""
    lines = (np.add.outer(np.arange(60), np.arange(60)) % 6 == 0).astype(np.uint8)
    Image.fromarray(lines * 255).convert("1").save(tmp_path / "m.png")
    assert np.array_equal(read_mask(tmp_path / "m.png").labels, lines)


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_opaque_black_is_a_part(tmp_path: Path, mode: str) -> None:
    """Opaque black on transparent is a part."""
    rgba = np.zeros((48, 64, 4), np.uint8)
    rgba[..., 3] = disc() * 255
    Image.fromarray(rgba).convert(mode).save(tmp_path / "m.png")
    mask = read_mask(tmp_path / "m.png")
    assert np.array_equal(mask.labels, disc())
    assert "transparent" in mask.notes[0]


def test_opaque_black_beside_colours(tmp_path: Path) -> None:
    """Opaque black beside colours on transparent is a part of its own."""
    rgba = np.zeros((48, 64, 4), np.uint8)
    rgba[10:20, 10:30] = (0, 0, 0, 255)
    rgba[25:40, 10:30] = (250, 10, 10, 255)
    mask = read_mask(save(tmp_path / "m.png", rgba))
    assert sorted(np.bincount(mask.labels.ravel()).tolist()) == [200, 300, 48 * 64 - 500]
    assert mask.colors[int(mask.labels[12, 12])] == (0, 0, 0)


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("quality", [75, 90, 95])
def test_ids_in_jpeg_kept(tmp_path: Path, mode: str, quality: int) -> None:
    """Ids 1 and 2 in a JPEG are two parts, with a note."""
    labels = np.zeros((96, 160), np.uint8)
    labels[20:70, 20:61], labels[31:81, 90:133] = 1, 2
    labels[cv2.circle(np.zeros((96, 160), np.uint8), (50, 48), 30, 1, -1) > 0] = 1
    Image.fromarray(labels).convert(mode).save(tmp_path / "m.jpg", quality=quality)
    mask = read_mask(tmp_path / "m.jpg")
    assert mask.values == (1, 2)
    assert (mask.labels == labels).mean() > 0.96
    assert "save masks as PNG" in mask.notes[0]


def test_ids_in_coarse_jpeg_refused(tmp_path: Path) -> None:
    """A JPEG too coarse for ids is refused."""
    Image.fromarray(disc() * 20).save(tmp_path / "m.jpg", quality=30)
    with pytest.raises(InputError, match="save the mask as PNG"):
        read_mask(tmp_path / "m.jpg")


def test_large_mask_refused_before_decoding(tmp_path: Path) -> None:
    """A mask of 13,000 x 13,000 pixels is refused in one line, before it is decoded."""
    Image.new("1", (13000, 13000)).save(tmp_path / "m.png")
    with pytest.raises(InputError, match="13000x13000 pixels are more than 67 megapixels"):
        read_mask(tmp_path / "m.png")


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


# Refusals


def test_value_beyond_16_bits_refused(tmp_path: Path) -> None:
    """A value beyond 16 bits is refused."""
    np.save(tmp_path / "m.npy", np.array([[0, 70000]]))
    with pytest.raises(InputError, match=r"m\.npy: part value 70000"):
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


def test_fit_mask_accepts_display_shape() -> None:
    """A mask drawn on the picture as it is shown fits its stored pixels."""
    labels = np.zeros((20, 40), np.int32)
    labels[:, 20:] = 1
    fitted = fit_mask(MaskFile(labels, {}), (20, 30), "m.png", Fraction(4, 3))
    assert np.array_equal(fitted.labels, np.repeat([[0] * 15 + [1] * 15], 20, 0))


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


def test_names_with_byte_order_mark(tmp_path: Path) -> None:
    """A byte order mark before the names is left out."""
    (tmp_path / "n.json").write_bytes(b"\xef\xbb\xbf" + b'{"1": "head"}')
    assert read_names(tmp_path / "n.json") == {1: "head"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"1": null}', "name of part 1 is null"),
        ('{"1": 7}', "name of part 1 is 7"),
        ('{"1": ["a"]}', "name of part 1"),
        ('{"1": " "}', "name of part 1"),
        ('{"1": "a\\nb"}', "name of part 1"),
        ('{"1": "a", "1": "b"}', "part 1 twice"),
        ('{"1": "a", "01": "b"}', "part 1 twice"),
        ('{"1.5": "a"}', "no part value"),
        ("[]", "expected a JSON object"),
    ],
)
def test_invalid_names_refused(tmp_path: Path, text: str, message: str) -> None:
    """Names that are no text, or occur twice, are refused in one line."""
    (tmp_path / "n.json").write_text(text)
    with pytest.raises(InputError, match=message) as caught:
        read_names(tmp_path / "n.json")
    assert "\n" not in str(caught.value)


def test_names_in_utf_16_refused(tmp_path: Path) -> None:
    """Names in UTF-16 are refused by the encoding."""
    (tmp_path / "n.json").write_text('{"1": "head"}', encoding="utf-16")
    with pytest.raises(InputError, match="UTF-8"):
        read_names(tmp_path / "n.json")


def test_missing_names_file_refused(tmp_path: Path) -> None:
    """A missing name file is refused."""
    with pytest.raises(InputError, match="no such file"):
        read_names(tmp_path / "n.json")


def test_parts_lost_by_fitting_refused(tmp_path):
    """Parts lost by fitting are an error."""
    labels = np.zeros((400, 400), np.int32)
    labels[:200] = 1
    labels[301, 301] = 2
    with pytest.raises(InputError, match="parts 2 are too small"):
        fit_mask(MaskFile(labels, {}), (100, 100), "mask")


def test_largest_part_value_is_255():
    """Part values of an annotation reach 255, the largest of an 8-bit mask. 256 is refused."""
    rgb, labels = np.zeros((4, 4, 3), np.uint8), np.array([[0, 1, 1, 1]] * 4)
    assert annotate(rgb, labels * 255).parts.values == (0, 255)
    with pytest.raises(InputError, match="the mask holds part 256; part values are 1 to 255"):
        annotate(rgb, labels * 256)


@pytest.mark.parametrize("kind", ["empty", "npz", "pipe", "folder", "cut"])
def test_array_file_must_hold_a_mask(tmp_path, kind):
    """An array without pixels, an npz called npy, a pipe, a folder and a cut file are refused in a line."""
    path = tmp_path / "mask.npy"
    if kind == "empty":
        np.save(path, np.zeros((0, 4), np.uint8))
    elif kind == "npz":
        np.savez(tmp_path / "mask.npz", a=np.ones((2, 2), np.uint8))
        (tmp_path / "mask.npz").rename(path)
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "folder":
        path.mkdir()
    else:
        path.write_bytes(b"\x93NUMPY\x01\x00")
    with pytest.raises(InputError, match=r"mask\.npy"):
        read_mask(path)


@pytest.mark.parametrize(
    "text", ["[" * 5000 + "]" * 5000, '{"1": "\\ud800"}', '{"1": ' + "9" * 5000 + "}", '{"1": "a"'], ids=len
)
def test_names_file_faults_refused(tmp_path, text):
    """Names that are nested too deep, hold half a character or a huge number, or are cut, are refused in a line."""
    path = tmp_path / "names.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"names\.json: (expected a JSON object|the name of part 1)"):
        read_names(path)


def test_special_files_refused(tmp_path):
    """A pipe or a device is no picture and no names file, and is refused at once."""
    os.mkfifo(tmp_path / "pipe.png")
    for path in (tmp_path / "pipe.png", Path("/dev/zero")):
        with pytest.raises(InputError, match="not a regular file"):
            open_image(path)
        with pytest.raises(InputError, match="expected a JSON object"):
            read_names(path)
