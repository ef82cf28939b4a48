"""Pictures on disk, and the one resize rule.

Pixel centres lie at +0.5 everywhere: pixel x of a picture of width w maps to ``(x + 0.5) * W / w - 0.5`` in one of
width W. OpenCV's area, linear and *exact* nearest follow it; its plain nearest does not and is never used.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from slimecore.errors import InputError
from slimecore.files import write_bytes

__all__ = [
    "IMAGE_SUFFIXES",
    "Box",
    "Spans",
    "box_around",
    "fit_short_side",
    "list_images",
    "natural_key",
    "open_image",
    "read_rgb",
    "resize_labels",
    "resize_rgb",
    "resize_soft",
    "spans_of",
    "undecided_box",
    "write_png",
]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")
Array = npt.NDArray[Any]
Box = tuple[slice, slice]
Spans = tuple[tuple[int, int], tuple[int, int]]
_UNDECIDED = 0.98  # labels surer than this change nothing by being worked out more finely


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """Sort key in which ``frame2`` comes before ``frame10``."""
    pieces = re.split(r"(\d+)", text.lower())
    return tuple((0, int(piece)) if piece.isdecimal() else (1, piece) for piece in pieces if piece)


def list_images(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """Image files of a folder in natural order; hidden files are left out."""
    return sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".")),
        key=lambda p: (natural_key(p.name), p.name),  # 1.png and 01.png: one order on every disk
    )


def open_image(path: Path) -> Image.Image:
    """Read an image file whole, in its own mode.

    Raises
    ------
    InputError
        Missing, truncated or not an image.
    """
    try:
        with Image.open(path) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise InputError(f"cannot read {path} as an image: {error}; replace the file") from error


def read_rgb(path: Path) -> npt.NDArray[np.uint8]:
    """Read a picture as (h, w, 3) uint8 RGB, rotated as its EXIF says; transparency is laid over black.

    Raises
    ------
    InputError
        Missing, truncated or not an image.
    """
    from PIL import ImageOps

    image = ImageOps.exif_transpose(open_image(path))
    if image.mode in {"I;16", "I;16B", "I", "F"}:
        wide = np.asarray(image, dtype=np.float64)
        top = 1.0 if image.mode == "F" and wide.max() <= 1 else 255.0 if wide.max() <= 255 else 65535.0
        gray = (wide * (255.0 / top)).round().clip(0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return np.array(image.convert("RGB"))


def write_png(path: Path, picture: Array) -> None:
    """Write (h, w, 3) RGB or (h, w) grey uint8 as PNG, atomically."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    write_bytes(path, buffer.getvalue())


def fit_short_side(size: tuple[int, int], short_side: int, multiple: int, *, enlarge: bool = False) -> tuple[int, int]:
    """Network size ``(h, w)``: short side as asked, enlarged only if `enlarge`, both sides a multiple.

    Each side is rounded on its own, so the aspect ratio changes by at most ``multiple / 2`` pixels; positions map
    linearly and no padding exists anywhere.
    """
    factor = short_side / min(size)
    factor = factor if enlarge else min(1.0, factor)

    def fit(side: int) -> int:
        return max(multiple, round(side * factor / multiple) * multiple)

    return fit(size[0]), fit(size[1])


def resize_rgb(rgb: Array, size: tuple[int, int]) -> Array:
    """Resize (h, w, c) uint8 or float to `size` = ``(h, w)``: area average when shrinking, else linear."""
    return _resize(rgb, size)


def resize_soft(values: Array, size: tuple[int, int]) -> Array:
    """Resize soft maps (parts, h, w) float32 to `size`; sums over parts stay what they were."""
    if values.shape[1:] == size:
        return values
    out = np.zeros((len(values), *size), np.float32)
    for plane, wide in zip(values.astype(np.float32, copy=False), out, strict=True):  # interleaved is much slower
        cv2.resize(np.ascontiguousarray(plane), size[::-1], dst=wide, interpolation=_mode(plane.shape, size))
    return out


def undecided_box(soft: Array, margin: int) -> Box | None:
    """Where no part is .98 sure, and `margin` pixels around it, of soft maps (parts, h, w); None where all is sure."""
    spans = spans_of(soft.max(0) < _UNDECIDED)
    if spans is None:
        return None
    rows, columns = (
        slice(max(0, first - margin), min(side, end + margin))
        for (first, end), side in zip(spans, soft.shape[1:], strict=True)
    )
    return rows, columns


def box_around(boxes: Iterable[Box | None]) -> Box | None:
    """The box that holds some boxes; None if there is none."""
    some = [box for box in boxes if box is not None]
    if not some:
        return None
    rows, columns = (
        slice(min(side.start for side in sides), max(side.stop for side in sides)) for sides in zip(*some, strict=True)
    )
    return rows, columns


def spans_of(mask: Array) -> Spans | None:
    """Rows ``(first, end)`` and columns of a mask (h, w) bool; None of an empty one."""
    lines = [np.flatnonzero(mask.any(axis)) for axis in (1, 0)]
    if not len(lines[0]):
        return None
    rows, columns = ((int(line[0]), int(line[-1]) + 1) for line in lines)
    return rows, columns


def resize_labels(labels: Array, size: tuple[int, int]) -> Array:
    """Resize an integer map (h, w) to `size` with honest half-pixel nearest; no new value appears."""
    if labels.shape == size:
        return labels
    wide = labels.astype(np.float32)  # exact for every value a mask can hold
    out = cv2.resize(wide, size[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(out).astype(labels.dtype)


def _resize(array: Array, size: tuple[int, int]) -> Array:
    h, w = array.shape[:2]
    if (h, w) == size:
        return array
    return np.asarray(cv2.resize(array, size[::-1], interpolation=_mode((h, w), size)))


def _mode(old: tuple[int, ...], new: tuple[int, int]) -> int:
    return cv2.INTER_AREA if new[0] <= old[0] and new[1] <= old[1] else cv2.INTER_LINEAR
