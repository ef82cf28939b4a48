"""List, read and write image files."""

from __future__ import annotations

import io
import re
import warnings
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.io.atomic_files import write_bytes
from slimecore.user_files import require_regular

__all__ = [
    "IMAGE_SUFFIXES",
    "WHITES",
    "flatten",
    "list_images",
    "natural_key",
    "open_image",
    "read_rgb",
    "unread_note",
    "white_level",
    "write_png",
]

IMAGE_SUFFIXES = (
    *(".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"),
    *(".avif", ".jp2"),
)
_UNREAD_SUFFIXES = (
    *(".heic", ".heif", ".jxl", ".jpf", ".jpx", ".j2k", ".psd", ".xcf", ".svg", ".tga", ".ppm", ".pgm", ".exr", ".hdr"),
    *(".dng", ".cr2", ".cr3", ".nef", ".arw", ".raf", ".orf", ".rw2", ".apng", ".dds", ".pcx", ".ico"),
)
WHITES = (255, 1023, 4095, 16383, 65535)  # of 8, 10, 12, 14 and 16 bits
_MAX_PIXELS = 2**27  # 134 megapixels; a picture of this size takes .8 GB while it is read


def natural_key(text: str) -> tuple[tuple[int, int | str], ...]:
    """Return a sort key that orders ``frame2`` before ``frame10``."""
    pieces = re.split(r"(\d+)", text.lower())
    return tuple((0, int(piece)) if piece.isdecimal() else (1, piece) for piece in pieces if piece)


def list_images(folder: Path, suffixes: tuple[str, ...] = IMAGE_SUFFIXES) -> list[Path]:
    """List the image files of a folder in natural order, without hidden files."""
    return sorted(
        (p for p in folder.iterdir() if p.suffix.lower() in suffixes and not p.name.startswith(".")),
        key=lambda p: (natural_key(p.name), p.name),  # the name breaks the tie of 1.png and 01.png
    )


def unread_note(folder: Path) -> list[str]:
    """Return a note that names the pictures of a folder whose format is not read, or nothing."""
    unread = [path.name for path in list_images(folder, _UNREAD_SUFFIXES)]
    if not unread:
        return []
    more = f" and {len(unread) - 3} more" if len(unread) > 3 else ""
    return [f"{folder}: {', '.join(unread[:3])}{more} left out, this format is not read; convert to PNG or JPEG"]


def open_image(path: Path, max_pixels: int = _MAX_PIXELS) -> Image.Image:
    """Read an image file completely, in its own mode.

    Raises
    ------
    InputError
        The file is missing, truncated or not an image, or has more than `max_pixels` pixels.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # the size is checked below
            opened = Image.open(require_regular(path))
        with opened as image:
            w, h = image.size
            if w * h > max_pixels:
                limit = f"{max_pixels / 1e6:.0f} megapixels"
                raise InputError(f"{path}: {w}x{h} pixels are more than {limit}; give a smaller picture")
            image.load()
            return image
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise InputError(f"cannot read {path} as an image: {error}; replace the file") from error


def white_level(largest: float) -> int:
    """Return white, 255 to 65535, of the smallest usual bit depth that holds the largest grey level."""
    return next((white for white in WHITES if white >= largest), WHITES[-1])


def read_rgb(path: Path | str, *, guess_depth: bool = False) -> npt.NDArray[np.uint8]:
    """Read an image file as (h, w, 3) uint8 RGB.

    The EXIF orientation is applied, and transparent pixels are composited over black. Grey images of 16 or 32 bits
    are scaled to 8 bits.

    Parameters
    ----------
    path : Path or str
    guess_depth : bool
        Take the smallest of 8, 10, 12, 14 and 16 bits that holds a deep grey image. Frames of a clip must keep one
        scale, so they may not.

    Raises
    ------
    InputError
        The file is missing, truncated or not an image.
    """
    path = Path(path)
    from PIL import ImageOps

    image = ImageOps.exif_transpose(open_image(path))
    if image.mode in {"I;16", "I;16B", "I", "F"}:
        values = np.asarray(image, dtype=np.float64)
        largest = values.max()
        white = 1.0 if image.mode == "F" and largest <= 1 else 255.0 if largest <= 255 else 65535.0
        white = white_level(largest) if guess_depth and largest > 1 else white
        gray = (values * (255.0 / white)).round().clip(0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    return flatten(image)


def flatten(image: Image.Image) -> npt.NDArray[np.uint8]:
    """Return an image of 8 bits as (h, w, 3) uint8 RGB, transparent pixels over black."""
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return np.array(image.convert("RGB"))


def write_png(path: Path, picture: Array) -> None:
    """Write a (h, w, 3) RGB or (h, w) grey uint8 picture as PNG, atomically."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    write_bytes(path, buffer.getvalue())
