"""Read masks of every common style and write indexed PNG with the DAVIS palette.

Part values are kept: an indexed or grey mask with values 1..K keeps them. A lone 255 becomes 1 (the style of DAVIS
2016). A 255 beside small values is void and ignored (the style of DAVIS 2017). Colours that all belong to the DAVIS
palette become its indices. Other colours and spread-out grey levels are numbered 1..K.

A label level fills an area, or is no blend of levels that do. Pixels of anti-aliasing and JPEG noise take the nearest
label level, or else the label of the nearest certain pixel. The notes of the mask say their number.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.imaging.palette import davis_palette
from slimecore.imaging.resize import resize_labels
from slimecore.io.atomic_files import write_bytes
from slimecore.io.images import open_image
from slimecore.io.mask_quantization import NOISE, filled_share, flat, label_levels, snap_to_labels, snapped_note
from slimecore.types import Annotation, Parts
from slimecore.user_files import read_array, read_json

__all__ = [
    "IGNORE",
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
_VOID_VALUE = 255
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
    notes : tuple of str
        Decisions about doubtful content, a sentence each.
    values_are_arbitrary : bool
        The file holds colours or spread-out grey levels that were numbered 1..K. The numbers hold in this file only.
    is_binary_255 : bool
        Part 1 stands for a lone 255, or for white.
    """

    labels: Array
    colors: Mapping[int, tuple[int, int, int]]
    notes: tuple[str, ...] = ()
    values_are_arbitrary: bool = False
    is_binary_255: bool = False

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
        The file is missing or unreadable, is a photograph, or has more than 254 label colours.
    """
    path = Path(path)
    if path.suffix.lower() == ".npy":
        return _from_values(_load_npy(path), path)
    image = ImageOps.exif_transpose(open_image(path))
    if image.mode == "P":
        palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
        mask = _from_values(np.array(image, np.int32), path)
        colors = {v: _color(palette[v]) for v in mask.values if v < len(palette)}
        return replace(mask, colors=colors)
    if image.mode == "1":
        return _from_values(np.array(image, np.int32), path)
    if image.mode in {"I", "I;16", "I;16B", "L"}:
        return _from_gray(np.array(image, np.int32), path)
    rgba = np.array(image.convert("RGBA"))
    rgb, opaque = rgba[..., :3], rgba[..., 3] >= 128
    rgb = np.where(opaque[..., None], rgb, 0).astype(np.uint8)
    if (rgb == rgb[..., :1]).all():
        return _from_gray(rgb[..., 0].astype(np.int32), path)
    return _from_colors(rgb, path)


def _color(rgb: Array) -> tuple[int, int, int]:
    return int(rgb[0]), int(rgb[1]), int(rgb[2])


def _load_npy(path: Path) -> Array:
    try:
        array = read_array(path)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read {path} as a plain NumPy array of integers; save it with np.save") from error
    if array.ndim != 2 or not array.size:
        raise InputError(f"{path}: a mask array must be (h, w) and not empty, got {array.shape}")
    if np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all() and (array == array.round()).all():
        array = array.astype(np.int64)
    if not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise InputError(f"{path}: a mask array must hold integers or booleans, got {array.dtype}")
    return np.asarray(array, np.int64)


def _from_values(raw: Array, path: Path) -> MaskFile:
    """Interpret a (h, w) int array as part values, with the two meanings of 255."""
    present = [int(v) for v in np.unique(raw)]
    labels = raw.astype(np.int32)
    foreground = [v for v in present if v > 0]
    if foreground == [_VOID_VALUE]:
        return MaskFile(
            np.where(labels == _VOID_VALUE, 1, labels.clip(min=IGNORE)).astype(np.int32), {}, is_binary_255=True
        )
    if foreground and foreground[-1] > _VOID_VALUE:
        raise InputError(f"{path}: part value {foreground[-1]} does not fit an indexed PNG; use values 1..254")
    if _VOID_VALUE in foreground:
        note = f"{path.name}: value 255 beside other ids is read as void and ignored"
        return MaskFile(np.where(labels == _VOID_VALUE, IGNORE, labels).astype(np.int32), {}, (note,))
    return MaskFile(labels.clip(min=IGNORE).astype(np.int32), {})


def _from_gray(raw: Array, path: Path) -> MaskFile:
    """Interpret (h, w) grey levels as part values, as black and white, or as levels to be numbered."""
    raw, level_of_rank = _eight_bit(raw)
    if level_of_rank is not None:
        listed = ", ".join(f"{level}={i}" for i, level in enumerate(level_of_rank) if i)
        return MaskFile(
            raw.astype(np.int32), {}, (f"{path.name}: grey levels are numbered {listed}",), values_are_arbitrary=True
        )
    values = np.unique(raw)
    largest = int(values[-1])
    ids = values[(values > 0) & (values < _VOID_VALUE)]
    are_ids = largest <= _VOID_VALUE and (len(ids) == 0 or int(ids[-1]) <= len(ids) + 32)
    # If nearly all grey levels occur, they are ids, or rims of an anti-aliased mask: the rims fill no areas.
    are_ids = are_ids and (len(ids) <= 128 or (flat(raw).mean() > 0.3 and filled_share(raw) > 0.9))
    if are_ids or (largest < 128 and len(values) <= 64):
        return _from_values(raw, path)
    picture = raw.astype(np.uint8)[..., None]
    label_colors, noisy = label_levels(picture, path)
    levels = label_colors[:, 0]
    if ((levels < NOISE) | (levels > _VOID_VALUE - NOISE)).all() and int(levels[-1]) - int(levels[0]) > 128:
        doubtful = int(np.isin(raw, (0, _VOID_VALUE), invert=True).sum())
        return MaskFile(
            (raw >= 128).astype(np.int32), {}, snapped_note(path, doubtful, "grey levels"), is_binary_255=True
        )
    picture, doubtful = snap_to_labels(picture, label_colors, noisy, path)
    levels = levels[levels > (NOISE / 2 if noisy else 0)]
    note = f"{path.name}: grey levels {', '.join(map(str, levels))} are numbered 1..{len(levels)}"
    numbering = np.zeros(256, np.int32)
    numbering[levels] = np.arange(1, len(levels) + 1)
    notes = (note, *snapped_note(path, doubtful, "grey levels"))
    return MaskFile(numbering[picture[..., 0]], {}, notes, values_are_arbitrary=True)


def _eight_bit(raw: Array) -> tuple[Array, Array | None]:
    """Map grey levels of up to 16 bits to 0..255.

    Levels above 255 are replaced by their ranks if they are at most 255 levels that mostly fill areas, else scaled.
    The second result is the level of each rank, or None.
    """
    levels = np.unique(raw)
    largest = int(levels[-1])
    if largest <= _VOID_VALUE:
        return raw, None
    if len(levels) > 2 and int(levels[-2]) < _VOID_VALUE and largest == 65535:  # small ids and a 16-bit void
        return np.where(raw == largest, _VOID_VALUE, raw), None
    black_or_white = (levels == 0) | (levels == 65535)
    if not black_or_white.all() and len(levels) <= _VOID_VALUE and filled_share(raw) >= 0.5:
        levels = np.union1d(levels, [0])
        return np.searchsorted(levels, raw), levels
    return (raw * (_VOID_VALUE / max(largest, 65535))).round().astype(np.int32), None


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


def fit_mask(mask: MaskFile, size: tuple[int, int], source: str) -> MaskFile:
    """Resize a mask to the size of its picture.

    Parameters
    ----------
    mask : MaskFile
    size : (int, int)
        ``(h, w)`` of the picture.
    source : str
        Name of the mask in messages.

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
        if abs(ratio - 1) > _ASPECT_TOLERANCE:
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
        colors=tuple(mask.colors.get(v, _color(palette[v])) for v in values),
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
        The shapes differ, a name repeats, a value is above 255, or no pixel holds a part.
    """
    mask = MaskFile(np.asarray(labels).astype(np.int32).clip(min=IGNORE), {})
    if not mask.values:
        raise InputError("the mask holds no part: every pixel is background (0); mark at least one part")
    if mask.values[-1] > _VOID_VALUE:
        raise InputError(f"the mask holds part {mask.values[-1]}; part values are 1 to {_VOID_VALUE}")
    parts = make_parts(mask, names)
    return Annotation(rgb, parts.index(mask.labels), parts)


def read_names(path: Path) -> dict[int, str]:
    """Read part names by value from a JSON object ``{"1": "head", ...}``.

    Raises
    ------
    InputError
        The file is missing, is not JSON, or does not map part values to names.
    """
    try:
        raw = read_json(path)
        return {int(value): str(name) for value, name in raw.items()}
    except FileNotFoundError:
        raise InputError(f"no such file: {path}; --names takes a JSON file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); --names takes a JSON file") from error
    except (ValueError, AttributeError) as error:
        expected = 'a JSON object of part values and names, such as {"1": "head", "2": "tail"}'
        raise InputError(f"{path}: expected {expected}") from error


def encode_mask(labels: Array) -> bytes:
    """Encode labels as an indexed 8-bit PNG with the DAVIS palette.

    Parameters
    ----------
    labels : (h, w) int, 0..255

    Returns
    -------
    bytes
    """
    plane = np.ascontiguousarray(labels, dtype=np.uint8)
    image = Image.frombytes("P", (plane.shape[1], plane.shape[0]), plane.tobytes())
    image.putpalette(davis_palette().ravel().tolist())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def write_mask(path: Path | str, labels: Array) -> None:
    """Write (h, w) int labels 0..255 as an indexed PNG with the DAVIS palette, atomically."""
    path = Path(path)
    write_bytes(path, encode_mask(labels))
