"""Masks on disk: every style people have, in; indexed PNG with the DAVIS palette, out.

Values stay what they are: an indexed PNG or a grey mask with values 1..K keeps them. A lone 255 is 1 (the DAVIS-2016
style); 255 beside small ids is "void" (the DAVIS-2017 style) and ignored. Colours that all belong to the DAVIS palette
become its indices; other colours and spread-out greys are numbered 1..K. A level is meant if it fills areas, or if
it is no blend of some that do; what anti-aliasing and JPEG add takes the label of the nearest meant level, else of
the nearest certain pixel, and how many there were is reported.
"""

from __future__ import annotations

import io
import json
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
_VOID = 255
_ASPECT_TOLERANCE = 0.03


@dataclass(frozen=True, slots=True, eq=False)
class MaskFile:
    """A mask as read.

    Parameters
    ----------
    labels : (h, w) int32
        Part values; 0 background, -1 ignore.
    colors : mapping of int to (r, g, b)
        Colour of each value, where the file said one.
    notes : tuple of str
        What was decided about doubtful content, one sentence each.
    numbered : bool
        The file holds colours or spread-out greys that were numbered 1..K: values mean something in this file only.
    lone : bool
        Part 1 stands for a lone 255 (or white).
    """

    labels: Array
    colors: Mapping[int, tuple[int, int, int]]
    notes: tuple[str, ...] = ()
    values_are_arbitrary: bool = False
    is_binary_255: bool = False

    @property
    def values(self) -> tuple[int, ...]:
        """Part values present, without background and ignore, increasing."""
        return tuple(int(v) for v in np.unique(self.labels) if v > 0)


def read_mask(path: Path) -> MaskFile:
    """Read a mask of any supported style.

    Parameters
    ----------
    path : Path
        Indexed, grey, RGB(A), 1-bit or 16-bit image, or ``.npy`` (h, w) of int or bool.

    Raises
    ------
    InputError
        Missing, unreadable, a photograph, or more than 254 different colours that are no anti-aliasing.
    """
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
        array = np.load(path, allow_pickle=False)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read {path} as a plain NumPy array of integers; save it with np.save") from error
    if array.ndim != 2:
        raise InputError(f"{path}: a mask array must be (h, w), got {array.shape}")
    if np.issubdtype(array.dtype, np.floating) and np.isfinite(array).all() and (array == array.round()).all():
        array = array.astype(np.int64)
    if not (np.issubdtype(array.dtype, np.integer) or array.dtype == bool):
        raise InputError(f"{path}: a mask array must hold integers or booleans, got {array.dtype}")
    return np.asarray(array, np.int64)


def _from_values(raw: Array, path: Path) -> MaskFile:
    present = [int(v) for v in np.unique(raw)]
    labels = raw.astype(np.int32)
    foreground = [v for v in present if v > 0]
    if foreground == [_VOID]:
        return MaskFile(np.where(labels == _VOID, 1, labels.clip(min=IGNORE)).astype(np.int32), {}, is_binary_255=True)
    if foreground and foreground[-1] > _VOID:
        raise InputError(f"{path}: part value {foreground[-1]} does not fit an indexed PNG; use values 1..254")
    if _VOID in foreground:
        note = f"{path.name}: value 255 beside other ids is read as void and ignored"
        return MaskFile(np.where(labels == _VOID, IGNORE, labels).astype(np.int32), {}, (note,))
    return MaskFile(labels.clip(min=IGNORE).astype(np.int32), {})


def _from_gray(raw: Array, path: Path) -> MaskFile:
    raw, numbers = _eight_bit(raw)
    if numbers is not None:
        listed = ", ".join(f"{level}={i}" for i, level in enumerate(numbers) if i)
        return MaskFile(
            raw.astype(np.int32), {}, (f"{path.name}: grey levels are numbered {listed}",), values_are_arbitrary=True
        )
    values = np.unique(raw)
    top = int(values[-1])
    ids = values[(values > 0) & (values < _VOID)]
    small = top <= _VOID and (len(ids) == 0 or int(ids[-1]) <= len(ids) + 32)
    # Every grey level there is: many small ids, or the rims of an anti-aliased black and white mask.
    small = small and (len(ids) <= 128 or (flat(raw).mean() > 0.3 and filled_share(raw) > 0.9))
    if small or (top < 128 and len(values) <= 64):
        return _from_values(raw, path)
    picture = raw.astype(np.uint8)[..., None]
    keep, noisy = label_levels(picture, path)
    levels = keep[:, 0]
    if ((levels < NOISE) | (levels > _VOID - NOISE)).all() and int(levels[-1]) - int(levels[0]) > 128:
        doubtful = int(np.isin(raw, (0, _VOID), invert=True).sum())
        return MaskFile(
            (raw >= 128).astype(np.int32), {}, snapped_note(path, doubtful, "grey levels"), is_binary_255=True
        )
    picture, doubtful = snap_to_labels(picture, keep, noisy, path)
    levels = levels[levels > (NOISE / 2 if noisy else 0)]
    note = f"{path.name}: grey levels {', '.join(map(str, levels))} are numbered 1..{len(levels)}"
    numbering = np.zeros(256, np.int32)
    numbering[levels] = np.arange(1, len(levels) + 1)
    notes = (note, *snapped_note(path, doubtful, "grey levels"))
    return MaskFile(numbering[picture[..., 0]], {}, notes, values_are_arbitrary=True)


def _eight_bit(raw: Array) -> tuple[Array, Array | None]:
    """Levels above 255 brought into 0..255: ranks where few fill areas (second result: rank to level), else scaled."""
    levels = np.unique(raw)
    top = int(levels[-1])
    if top <= _VOID:
        return raw, None
    if len(levels) > 2 and int(levels[-2]) < _VOID and top == 65535:  # small ids and a 16-bit void
        return np.where(raw == top, _VOID, raw), None
    black_or_white = (levels == 0) | (levels == 65535)
    if not black_or_white.all() and len(levels) <= _VOID and filled_share(raw) >= 0.5:
        levels = np.union1d(levels, [0])
        return np.searchsorted(levels, raw), levels
    return (raw * (_VOID / max(top, 65535))).round().astype(np.int32), None


def _exact_palette(rgb: Array) -> Array | None:
    """Values of a picture whose every pixel is one of the DAVIS palette's first 32 colours; None for any other."""
    codes = rgb.astype(np.int32) @ np.array([65536, 256, 1])
    table = davis_palette()[:32].astype(np.int32) @ np.array([65536, 256, 1])
    order = np.argsort(table)
    position = np.searchsorted(table[order], codes).clip(0, len(table) - 1)
    # Anti-aliasing would show quarters and eighths of a colour too, which the palette does not have.
    found = np.asarray(order[position])
    return found if (table[found] == codes).all() else None


def _from_colors(rgb: Array, path: Path) -> MaskFile:
    notes: tuple[str, ...] = ()
    exact = _exact_palette(rgb)
    if exact is not None:
        mask = _from_values(exact, path)
        return replace(mask, colors={v: _color(davis_palette()[v]) for v in mask.values})
    keep, noisy = label_levels(rgb, path)
    slack = NOISE / 2 if noisy else 0
    black = keep.max(1) <= slack
    table = davis_palette().astype(np.int32)
    distance = np.abs(keep[:257, None].astype(np.int32) - table).max(-1)
    known = len(keep) <= 256 and bool((distance.min(1) <= slack).all())
    if not known and int((~black).sum()) >= _VOID:
        raise InputError(f"{path}: over 254 colours are too many for a mask; save it as an indexed PNG with ids 1..K")
    snapped, doubtful = snap_to_labels(rgb, keep, noisy, path)
    if known:
        values = distance.argmin(1)
        tones = table[values]
    else:
        values, tones = np.where(black, 0, np.cumsum(~black)), keep
        listed = ", ".join(f"#{r:02x}{g:02x}{b:02x}={v}" for v, (r, g, b) in zip(values, keep, strict=True) if v)
        notes = (f"{path.name}: colours are numbered {listed}; black is background",)
    labels = np.zeros(rgb.shape[:2], np.int32)
    for color, value in zip(keep, values, strict=True):
        labels[(snapped == color).all(-1)] = value
    named = {int(v): _color(c) for v, c in zip(values, tones, strict=True) if 0 < v < _VOID}
    mask = _from_values(labels, path)  # the palette's colour 255 is void, too
    notes = (*notes, *mask.notes, *snapped_note(path, doubtful, "colours"))
    return replace(mask, colors=named, notes=notes, values_are_arbitrary=not known)


def fit_mask(mask: MaskFile, size: tuple[int, int], source: str) -> MaskFile:
    """Bring a mask to the picture's size.

    Raises
    ------
    InputError
        The aspect ratios differ by more than 3 %, so the mask belongs to another picture; or no part is left.
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
    """Parts of a mask: background first, then its values in increasing order."""
    given = names or {}
    palette = davis_palette()
    values = (0, *mask.values)
    return Parts(
        values=values,
        names=tuple(given.get(v, "background" if v == 0 else f"part {v}") for v in values),
        colors=tuple(mask.colors.get(v, _color(palette[v])) for v in values),
    )


def annotate(rgb: Array, labels: Array, names: Mapping[int, str] | None = None) -> Annotation:
    """Annotation of a picture (h, w, 3) uint8 by part values (h, w) int: 0 background, negative values ignored.

    Raises
    ------
    InputError
        The shapes differ, a name repeats, a value is above 255, or no pixel holds a part.
    """
    mask = MaskFile(np.asarray(labels).astype(np.int32).clip(min=IGNORE), {})
    if not mask.values:
        raise InputError("the mask holds no part: every pixel is background (0); mark at least one part")
    if mask.values[-1] > _VOID:
        raise InputError(f"the mask holds part {mask.values[-1]}; part values are 1 to {_VOID}")
    parts = make_parts(mask, names)
    return Annotation(rgb, parts.index(mask.labels), parts)


def read_names(path: Path) -> dict[int, str]:
    """Part names from a JSON object ``{"1": "head", ...}``.

    Raises
    ------
    InputError
        Missing, not JSON, or not value -> name.
    """
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        return {int(value): str(name) for value, name in raw.items()}
    except FileNotFoundError:
        raise InputError(f"no such file: {path}; --names takes a JSON file") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); --names takes a JSON file") from error
    except (ValueError, AttributeError) as error:
        expected = 'a JSON object of part values and names, such as {"1": "head", "2": "tail"}'
        raise InputError(f"{path}: expected {expected}") from error


def encode_mask(labels: Array) -> bytes:
    """Bytes of an indexed 8-bit PNG with the DAVIS palette.

    Parameters
    ----------
    labels : (h, w) int, 0..255
    """
    plane = np.ascontiguousarray(labels, dtype=np.uint8)
    image = Image.frombytes("P", (plane.shape[1], plane.shape[0]), plane.tobytes())
    image.putpalette(davis_palette().ravel().tolist())
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


def write_mask(path: Path, labels: Array) -> None:
    """Write (h, w) int labels 0..255 as an indexed PNG with the DAVIS palette, atomically."""
    write_bytes(path, encode_mask(labels))
