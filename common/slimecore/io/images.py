"""List, read and write image files."""

from __future__ import annotations

import io
import re
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
    "list_images",
    "natural_key",
    "open_image",
    "read_rgb",
    "write_png",
]

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff")


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


def open_image(path: Path) -> Image.Image:
    """Read an image file completely, in its own mode.

    Raises
    ------
    InputError
        The file is missing, truncated or not an image.
    """
    try:
        with Image.open(require_regular(path)) as image:
            image.load()
            return image
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, ValueError, SyntaxError) as error:
        raise InputError(f"cannot read {path} as an image: {error}; replace the file") from error


def read_rgb(path: Path | str) -> npt.NDArray[np.uint8]:
    """Read an image file as (h, w, 3) uint8 RGB.

    The EXIF orientation is applied, and transparent pixels are composited over black. Grey images of 16 or 32 bits
    are scaled to 8 bits.

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
        white = 1.0 if image.mode == "F" and values.max() <= 1 else 255.0 if values.max() <= 255 else 65535.0
        gray = (values * (255.0 / white)).round().clip(0, 255).astype(np.uint8)
        return np.repeat(gray[..., None], 3, axis=2)
    if image.mode in {"RGBA", "LA", "PA"} or "transparency" in image.info:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, (0, 0, 0, 255)), rgba)
    return np.array(image.convert("RGB"))


def write_png(path: Path, picture: Array) -> None:
    """Write a (h, w, 3) RGB or (h, w) grey uint8 picture as PNG, atomically."""
    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG", compress_level=1)
    write_bytes(path, buffer.getvalue())
