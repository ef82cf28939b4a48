"""Read masks of every common style and write indexed PNG with the DAVIS palette.

Part values are kept: an indexed or grey mask keeps them, up to 65534. A lone 255 becomes 1 (the style of DAVIS 2016). A
255 beside small values is void and ignored (the style of DAVIS 2017). Colours that all belong to the DAVIS palette
become its indices. Other colours, and grey tones up to white or with JPEG noise, are numbered 1..K.

A label level fills an area, or is no blend of levels that do. Pixels of anti-aliasing and JPEG noise take the nearest
label level, or else the label of the nearest certain pixel. The notes of the mask say their number.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.imaging.palette import davis_palette
from slimecore.imaging.resize import resize_labels
from slimecore.io.atomic_files import write_bytes
from slimecore.io.gray_levels import are_tones, deep_levels, settle_lossy_ids
from slimecore.io.images import open_image
from slimecore.io.indexed_masks import BLACK, indexed_colors, require_no_dithering
from slimecore.io.mask_arrays import load_npy, whole_numbers
from slimecore.io.mask_quantization import NOISE, filled_share, flat, label_levels, snap_to_labels, snapped_note
from slimecore.io.part_names import read_names
from slimecore.types import Annotation, Parts

__all__ = [
    "IGNORE",
    "MAX_INDEXED_VALUE",
    "MaskFile",
    "annotate",
    "encode_mask",
    "fit_mask",
    "make_parts",
    "read_mask",
    "read_names",
    "write_mask",
]

IGNORE = -1
MAX_INDEXED_VALUE = 254  # the largest part value that an indexed PNG holds beside void
_VOID_VALUE = 255
_WIDE_VOID_VALUE = 65535
_MAX_PIXELS = 2**26  # 8192 x 8192; separating levels takes about 20 bytes a pixel
_MIN_EXACT_SHARE = 0.9  # of the pixels near a noisy grey level that equal it, where the level is a part value
_ASPECT_TOLERANCE = 0.03  # relative difference of the aspect ratios of mask and picture


@dataclass(frozen=True, slots=True, eq=False)
class MaskFile:
    """A mask read from a file.

    Parameters
    ----------
    labels : (h, w) int32
        Part values. 0 is background, -1 is ignored.
    colors : mapping of int to (r, g, b)
        RGB colour 0..255 of each part value, where the file has colours.
    gray_levels : mapping of int to int
        Grey level 0..255 of each part value, of grey masks with large values.
    notes : tuple of str
        Decisions about doubtful content, a sentence each.
    values_are_arbitrary : bool
        The file holds colours or grey tones that were numbered 1..K. The numbers hold in this file only.
    is_binary_255 : bool
        Part 1 stands for a lone 255, or for white.
    values_are_indices : bool
        The values are the indices of an indexed image. Its colours are only those of its palette.
    """

    labels: Array
    colors: Mapping[int, tuple[int, int, int]]
    notes: tuple[str, ...] = ()
    values_are_arbitrary: bool = False
    is_binary_255: bool = False
    gray_levels: Mapping[int, int] = field(default_factory=dict)
    values_are_indices: bool = False

    @property
    def values(self) -> tuple[int, ...]:
        """Return the part values present, increasing, without background and ignored pixels."""
        return tuple(int(v) for v in np.unique(self.labels) if v > 0)


def read_mask(path: Path | str) -> MaskFile:
    """Read a mask file of any supported style.

    Parameters
    ----------
    path : Path or str
        Indexed, grey, RGB(A), 1-bit or 16-bit image, or ``.npy`` (h, w) of int or bool.

    Raises
    ------
    InputError
        The file is missing, unreadable or too large, is a photograph or dithered, or has more than 254 label colours.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        return _from_values(load_npy(path, _MAX_PIXELS), path)
    opened = open_image(path, _MAX_PIXELS)
    image = ImageOps.exif_transpose(opened)
    if image.mode == "P":
        return _from_indexed(image, path)
    if image.mode == "1":
        require_no_dithering(np.array(image), path)
        return _from_values(np.array(image, np.int32), path)
    if image.mode == "F":
        return _from_values(whole_numbers(np.array(image), path), path)
    if image.mode == "L" or image.mode.startswith("I"):
        return _from_gray(np.array(image, np.int32), path, opened)
    rgba = np.array(image.convert("RGBA"))
    rgb, opaque = rgba[..., :3], rgba[..., 3] >= 128
    rgb = np.where(opaque[..., None], rgb, 0).astype(np.uint8)
    gray = bool((rgb == rgb[..., :1]).all())
    mask = _from_gray(rgb[..., 0].astype(np.int32), path, opened) if gray else _from_colors(rgb, path)
    return mask if opaque.all() else _with_opaque_black(mask, rgb, opaque, path)


def _from_indexed(image: Image.Image, path: Path) -> MaskFile:
    """Interpret an indexed image by its indices, or by its colours if the indices are no part values."""
    rgb, notes = indexed_colors(image, path)
    if rgb is None:
        palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        mask = _from_values(np.array(image, np.int32), path)
        colors = {v: _color(palette[v]) for v in mask.values if v < len(palette)}
        return replace(mask, colors=colors, notes=(*notes, *mask.notes), values_are_indices=True)
    is_gray = bool((rgb == rgb[..., :1]).all())
    mask = _from_gray(rgb[..., 0].astype(np.int32), path) if is_gray else _from_colors(rgb, path)
    return replace(mask, notes=(*notes, *mask.notes))


def _with_opaque_black(mask: MaskFile, rgb: Array, opaque: Array, path: Path) -> MaskFile:
    """Add opaque black as a part where transparent pixels are the background.

    They are if nothing else is opaque, or if they fill at least half of the border.
    """
    black = opaque & (rgb.max(-1) <= BLACK)
    border = np.concatenate([opaque[0], opaque[-1], opaque[:, 0], opaque[:, -1]])
    if not black.any() or (mask.values and border.mean() > 0.5):
        return mask
    note = f"{path.name}: black is a part, because the background is transparent"
    if not mask.values:
        return MaskFile(black.astype(np.int32), {}, (*mask.notes, note), is_binary_255=True)
    number = mask.values[-1] + 1
    levels = mask.gray_levels or ({1: _VOID_VALUE} if mask.is_binary_255 else {})
    return replace(
        mask,
        labels=np.where(black, number, mask.labels).astype(np.int32),
        colors={**(mask.colors or {v: (g, g, g) for v, g in levels.items()}), number: (0, 0, 0)},
        notes=(*mask.notes, f"{note}, {number}"),
        values_are_arbitrary=True,
        is_binary_255=False,
    )


def _color(rgb: Array) -> tuple[int, int, int]:
    return int(rgb[0]), int(rgb[1]), int(rgb[2])


def _from_values(raw: Array, path: Path) -> MaskFile:
    """Interpret a (h, w) int array as part values, with the two meanings of 255."""
    foreground = [int(v) for v in np.unique(raw) if v > 0]
    if foreground and foreground[-1] > _WIDE_VOID_VALUE:
        raise InputError(f"{path}: part value {foreground[-1]} is too large; use values 1..{MAX_INDEXED_VALUE}")
    labels = raw.clip(min=IGNORE).astype(np.int32)
    if foreground == [_VOID_VALUE]:
        return MaskFile(np.where(labels == _VOID_VALUE, 1, labels).astype(np.int32), {}, is_binary_255=True)
    void = _WIDE_VOID_VALUE if foreground and foreground[-1] > _VOID_VALUE else _VOID_VALUE
    if void in foreground:
        note = f"{path.name}: value {void} beside other ids is read as void and ignored"
        return MaskFile(np.where(labels == void, IGNORE, labels).astype(np.int32), {}, (note,))
    return MaskFile(labels, {})


def _from_gray(raw: Array, path: Path, opened: Image.Image | None = None) -> MaskFile:
    """Interpret (h, w) grey levels as part values, as black and white, or as tones to be numbered.

    `opened` is the image as opened, which knows its compression.
    """
    raw, are_values = deep_levels(raw)
    if are_values:
        return _from_values(raw, path)
    values = np.unique(raw)
    largest = int(values[-1])
    ids = values[(values > 0) & (values < _VOID_VALUE)]
    are_ids = largest <= _VOID_VALUE and (len(ids) == 0 or int(ids[-1]) <= len(ids) + 32)
    # If nearly all grey levels occur, they are ids, or rims of an anti-aliased mask: the rims fill no areas.
    are_ids = are_ids and (len(ids) <= 128 or (flat(raw).mean() > 0.3 and filled_share(raw) > 0.9))
    if are_ids or (largest < 128 and len(values) <= 64):
        raw, notes = settle_lossy_ids(raw, opened, path) if opened else (raw, ())
        mask = _from_values(raw, path)
        return replace(mask, notes=(*notes, *mask.notes))
    picture = raw.astype(np.uint8)[..., None]
    label_colors, noisy = label_levels(picture, path)
    levels = label_colors[:, 0]
    if ((levels < NOISE) | (levels > _VOID_VALUE - NOISE)).all() and int(levels[-1]) - int(levels[0]) > 128:
        doubtful = int(np.isin(raw, (0, _VOID_VALUE), invert=True).sum())
        return MaskFile(
            (raw >= 128).astype(np.int32), {}, snapped_note(path, doubtful, "grey levels"), is_binary_255=True
        )
    picture, doubtful = snap_to_labels(picture, label_colors, noisy, path)
    is_exact = not noisy or (raw == picture[..., 0]).mean() >= _MIN_EXACT_SHARE
    levels = levels[levels > (NOISE / 2 if noisy else 0)]
    if is_exact and not are_tones(levels):
        mask = _from_values(np.where(picture[..., 0] >= levels[0], picture[..., 0], 0), path)
        notes = (*mask.notes, *snapped_note(path, doubtful, "grey levels"))
        return replace(mask, notes=notes, gray_levels={v: v for v in mask.values})
    note = f"{path.name}: grey levels {', '.join(map(str, levels))} are numbered 1..{len(levels)}"
    numbering = np.zeros(256, np.int32)
    numbering[levels] = np.arange(1, len(levels) + 1)
    notes = (note, *snapped_note(path, doubtful, "grey levels"))
    tones = {i: int(level) for i, level in enumerate(levels, 1)}
    return MaskFile(numbering[picture[..., 0]], {}, notes, values_are_arbitrary=True, gray_levels=tones)


def _palette_values(rgb: Array) -> Array | None:
    """Return (h, w) DAVIS palette indices if all pixels have colours of the first 32 entries, else None."""
    codes = rgb.astype(np.int32) @ np.array([65536, 256, 1])
    table = davis_palette()[:32].astype(np.int32) @ np.array([65536, 256, 1])
    order = np.argsort(table)
    position = np.searchsorted(table[order], codes).clip(0, len(table) - 1)
    # Anti-aliased edges also have quarters and eighths of a colour, and the first 32 entries do not.
    values = np.asarray(order[position])
    return values if (table[values] == codes).all() else None


def _from_colors(rgb: Array, path: Path) -> MaskFile:
    """Interpret (h, w, 3) uint8 colours as DAVIS palette indices, or number them."""
    notes: tuple[str, ...] = ()
    exact_values = _palette_values(rgb)
    if exact_values is not None:
        mask = _from_values(exact_values, path)
        return replace(mask, colors={v: _color(davis_palette()[v]) for v in mask.values})
    label_colors, noisy = label_levels(rgb, path)
    slack = NOISE / 2 if noisy else 0
    black = label_colors.max(1) <= slack
    palette = davis_palette().astype(np.int32)
    distance = np.abs(label_colors[:257, None].astype(np.int32) - palette).max(-1)
    in_palette = len(label_colors) <= 256 and bool((distance.min(1) <= slack).all())
    if not in_palette and int((~black).sum()) >= _VOID_VALUE:
        raise InputError(f"{path}: over 254 colours are too many for a mask; save it as an indexed PNG with ids 1..K")
    snapped, doubtful = snap_to_labels(rgb, label_colors, noisy, path)
    if in_palette:
        values = distance.argmin(1)
        output_colors = palette[values]
    else:
        values, output_colors = np.where(black, 0, np.cumsum(~black)), label_colors
        listed = ", ".join(
            f"#{r:02x}{g:02x}{b:02x}={v}" for v, (r, g, b) in zip(values, label_colors, strict=True) if v
        )
        notes = (f"{path.name}: colours are numbered {listed}; black is background",)
    labels = np.zeros(rgb.shape[:2], np.int32)
    for color, value in zip(label_colors, values, strict=True):
        labels[(snapped == color).all(-1)] = value
    color_of_value = {int(v): _color(c) for v, c in zip(values, output_colors, strict=True) if 0 < v < _VOID_VALUE}
    mask = _from_values(labels, path)  # palette index 255 is void as well
    notes = (*notes, *mask.notes, *snapped_note(path, doubtful, "colours"))
    return replace(mask, colors=color_of_value, notes=notes, values_are_arbitrary=not in_palette)


def fit_mask(mask: MaskFile, size: tuple[int, int], source: str, pixel_shape: Fraction = Fraction(1)) -> MaskFile:
    """Resize a mask to the size of its picture.

    Parameters
    ----------
    mask : MaskFile
    size : (int, int)
        ``(h, w)`` of the picture.
    source : str
        Name of the mask in messages.
    pixel_shape : Fraction
        Width of a pixel of the picture divided by its height. A mask drawn on the picture as it is shown fits too.

    Returns
    -------
    MaskFile
        With a note if it was resized.

    Raises
    ------
    InputError
        The aspect ratios differ by more than 3 %, a part is too small to survive, or the mask is empty.
    """
    h, w = mask.labels.shape
    if (h, w) != size:
        ratio = (w / h) / (size[1] / size[0])
        if min(abs(ratio - 1), abs(ratio / float(pixel_shape) - 1)) > _ASPECT_TOLERANCE:
            raise InputError(
                f"{source}: the mask is {w}x{h} but the picture is {size[1]}x{size[0]}, another aspect ratio; "
                "draw the mask on this very picture"
            )
        note = f"{source}: mask of {w}x{h} fitted to {size[1]}x{size[0]}"
        fitted = replace(mask, labels=resize_labels(mask.labels, size), notes=(*mask.notes, note))
        lost = sorted(set(mask.values) - set(fitted.values))
        if lost and fitted.values:
            raise InputError(
                f"{source}: parts {', '.join(map(str, lost))} are too small to survive fitting the mask of {w}x{h} to "
                f"{size[1]}x{size[0]}; draw the mask at the picture's size"
            )
        mask = fitted
    if not mask.values:
        raise InputError(f"{source}: the mask is empty, every pixel is background (0); mark at least one part")
    return mask


def make_parts(mask: MaskFile, names: Mapping[int, str] | None = None) -> Parts:
    """Return the parts of a mask: the background first, then its part values in increasing order."""
    names = names or {}
    palette = davis_palette()
    values = (0, *mask.values)
    return Parts(
        values=values,
        names=tuple(names.get(v, "background" if v == 0 else f"part {v}") for v in values),
        colors=tuple(mask.colors.get(v, _color(palette[v % 256])) for v in values),
    )


def annotate(rgb: Array, labels: Array, names: Mapping[int, str] | None = None) -> Annotation:
    """Annotate a picture with part values.

    Parameters
    ----------
    rgb : (h, w, 3) uint8
    labels : (h, w) int
        Part values 1..255. 0 is background, negative values are ignored.
    names : mapping of int to str, optional
        Part names by value.

    Returns
    -------
    Annotation

    Raises
    ------
    InputError
        The labels are no integers, the shapes differ, a name repeats, a value is above 255, or no pixel holds a part.
    """
    values = np.asarray(labels)
    if values.dtype.kind not in "iub":
        raise InputError(
            f"a mask must be an integer array, got {type(labels).__name__} of {values.dtype}; "
            "read_mask(path).labels reads a file"
        )
    mask = MaskFile(values.astype(np.int32).clip(min=IGNORE), {})
    if not mask.values:
        raise InputError("the mask holds no part: every pixel is background (0); mark at least one part")
    if mask.values[-1] > _VOID_VALUE:
        raise InputError(f"the mask holds part {mask.values[-1]}; part values are 1 to {_VOID_VALUE}")
    parts = make_parts(mask, names)
    return Annotation(rgb, parts.index(mask.labels), parts)


def encode_mask(labels: Array) -> bytes:
    """Encode labels as an indexed 8-bit PNG with the DAVIS palette, or as a grey 16-bit PNG if a value is above 255.

    Parameters
    ----------
    labels : (h, w) int, 0..65535

    Returns
    -------
    bytes
    """
    if labels.size and int(labels.max()) > _VOID_VALUE:
        buffer = io.BytesIO()
        Image.fromarray(np.ascontiguousarray(labels, dtype=np.uint16)).save(buffer, "PNG", compress_level=1)
        return buffer.getvalue()
    plane = np.ascontiguousarray(labels, dtype=np.uint8)
    image = Image.frombytes("P", (plane.shape[1], plane.shape[0]), plane.tobytes())
    image.putpalette(davis_palette().ravel().tolist())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def write_mask(path: Path | str, labels: Array) -> None:
    """Write (h, w) int labels as :func:`encode_mask` encodes them, atomically."""
    path = Path(path)
    write_bytes(path, encode_mask(labels))
