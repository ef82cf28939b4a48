"""Pictures of more than 8 bits: one scale for all frames of a clip.

Sensors of 10, 12 or 14 bits are stored in 16. A scale a frame would flicker, and the scale of 16 bits would be black.
Therefore white is the largest value of the fewest bits that hold every frame.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from slimecore.array_types import Array

__all__ = ["decode_deep", "find_white", "is_deep", "scale_deep", "white_note"]

_GRAY_MODES = ("I;16", "I;16B", "I;16L", "I", "F")
_BITS = (8, 9, 10, 11, 12, 14, 16)
_EXIF_ORIENTATION = 0x0112


def is_deep(image: Image.Image) -> bool:
    """Return True if an image that is opened, but not loaded, has more than 8 bits a channel."""
    if image.mode in _GRAY_MODES:
        return True
    return any(";16" in str(argument) for tile in getattr(image, "tile", ()) for argument in tile[3:])


def decode_deep(image: Image.Image, content: bytes, page: int = 0) -> npt.NDArray[np.float64]:
    """Return the values of a deep image, (h, w, 1 or 3), upright, transparent pixels over black.

    Parameters
    ----------
    image : Image
        Opened, at the page.
    content : bytes
        The file.
    page : int
        Number of the page in the file.

    Raises
    ------
    OSError
        The image is damaged.
    """
    if image.mode in _GRAY_MODES:
        values = np.asarray(image, np.float64)[..., None]
    else:  # Pillow reduces colours to 8 bits
        done, pages = cv2.imdecodemulti(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED)
        if not done or page >= len(pages):
            raise OSError("its pixels cannot be decoded")
        values = np.asarray(pages[page], np.float64)
        values = values[..., None] if values.ndim == 2 else values
        if values.shape[2] == 4:
            values = values[..., :3] * (values[..., 3:] / max(1.0, values[..., 3:].max()))
        values = values[..., ::-1]
    return _upright(values, int(image.getexif().get(_EXIF_ORIENTATION, 1)))


def _upright(values: Array, orientation: int) -> npt.NDArray[np.float64]:
    values = values.swapaxes(0, 1) if orientation >= 5 else values
    values = values[:, ::-1] if orientation in (2, 3, 6, 7) else values
    return np.asarray(values[::-1] if orientation in (3, 4, 7, 8) else values, np.float64)


def find_white(frames: Iterable[Array]) -> float:
    """Return the value that is shown as white, for all frames of a clip.

    Values up to 1 are taken for shares. Otherwise the fewest of 8 to 12, 14 and 16 bits that hold all values count.
    """
    highest, whole = 0.0, True
    for values in frames:
        finite = values[np.isfinite(values)]
        highest = max(highest, float(finite.max(initial=0.0)))
        whole = whole and bool((finite == np.round(finite)).all())
    if highest <= 1 and not whole:
        return 1.0
    return next((2.0**bits - 1 for bits in _BITS if highest < 2**bits), highest)


def scale_deep(values: Array, white: float) -> npt.NDArray[np.uint8]:
    """Return values as (h, w, 3) uint8 RGB, with `white` as 255."""
    scaled = (np.nan_to_num(values, nan=0.0) * (255.0 / white)).round().clip(0, 255).astype(np.uint8)
    return np.repeat(scaled, 3, axis=2) if scaled.shape[2] == 1 else scaled


def white_note(white: float) -> tuple[str, ...]:
    """Return a note on a scale that is not the format's own."""
    if white in (1.0, 255.0, 65535.0):
        return ()
    return (f"frames of more than 8 bits: {white:.0f} is white in all of them",)
