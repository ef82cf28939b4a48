"""Bring grey levels of masks to what they stand for: part values, or black and white of any bit depth."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.io.images import WHITES, white_level
from slimecore.io.mask_quantization import NOISE, filled_share, flat, snap_to_labels

__all__ = ["are_tones", "deep_levels", "settle_lossy_ids"]

_LOSSY_FORMATS = ("JPEG", "MPO", "WEBP", "AVIF", "JPEG2000")
_EVEN_SLACK = 2  # grey levels of 0..255; levels this near to even steps are tones of a drawing
_MIN_FLAT_SHARE = 0.3  # of the pixels of an id that equal all their neighbours; what JPEG adds along rims has .2
_MAX_EXACT_STEP = 8  # quantisation of the mean of a JPEG block; above it, flat areas change by more than half a level


def are_tones(levels: Array) -> bool:
    """Return True if grey levels (n,) 1..255, increasing, are tones of a drawing and no part values.

    They are if they divide black to white evenly, or if white is among them and none is nearly black.
    """
    count = np.arange(1, len(levels) + 1)
    evenly = any(
        np.abs(levels - count * (WHITES[0] / steps)).max() <= _EVEN_SLACK for steps in (len(levels), len(levels) + 1)
    )
    return bool(evenly or (int(levels[-1]) == WHITES[0] and int(levels[0]) >= NOISE))


def deep_levels(raw: Array) -> tuple[Array, bool]:
    """Bring grey levels of up to 16 bits to 0..255, unless they are part values.

    Levels are part values if at least half of them fill areas, and if they are no grey tones up to white.

    Parameters
    ----------
    raw : (h, w) int

    Returns
    -------
    levels : (h, w) int
        Grey levels 0..255, or part values with 65535, which is void, as -1.
    are_values : bool
    """
    levels = np.unique(raw)
    largest = int(levels[-1])
    if largest <= WHITES[0]:
        return raw, False
    others = levels[(levels > 0) & (levels < largest)]
    if largest == WHITES[-1] and len(others) and others[-1] < WHITES[0] and len(levels) > 2:
        return np.where(raw == largest, WHITES[0], raw), False  # small ids and a 16-bit void
    if (levels % 257 == 0).all():  # 8 bits, saved as 16
        return raw // 257, False
    white = white_level(largest)
    are_tones = largest == white and (len(others) == 0 or int(others[0]) >= NOISE / 255 * white)
    if not are_tones and filled_share(raw) >= (0.5 if len(levels) <= WHITES[0] else 0.9):
        return np.where(raw == WHITES[-1], -1, raw), True
    return (raw * (WHITES[0] / white)).round().astype(np.int32), False


def settle_lossy_ids(raw: Array, image: Image.Image, path: Path) -> tuple[Array, tuple[str, ...]]:
    """Give pixels that lossy compression moved away from small part values the nearest certain value.

    Parameters
    ----------
    raw : (h, w) int
        Small grey levels.
    image : PIL.Image.Image
        Image as opened, which knows its format.
    path : Path
        File of the mask, for messages.

    Returns
    -------
    raw : (h, w) int
    notes : tuple of str

    Raises
    ------
    InputError
        The compression is too strong for part values.
    """
    if image.format not in _LOSSY_FORMATS or raw.max() == 0:
        return raw, ()
    tables = getattr(image, "quantization", None)
    if tables and tables[min(tables)][0] > _MAX_EXACT_STEP:
        raise InputError(f"{path}: its JPEG compression has changed the part values; save the mask as PNG")
    levels, counts = np.unique(raw, return_counts=True)
    inside = raw[flat(raw)]
    filled = np.array([np.count_nonzero(inside == level) for level in levels])
    certain = (filled >= 9) & (filled >= _MIN_FLAT_SHARE * counts)
    if not certain.any():
        return raw, ()
    settled, doubtful = snap_to_labels(
        raw.astype(np.uint8)[..., None], levels[certain].astype(np.uint8)[:, None], False, path
    )
    note = (
        f"{path.name}: {image.format} has changed the part values of {doubtful} pixels, which took the value of the "
        "nearest certain pixel; save masks as PNG"
    )
    return settled[..., 0].astype(np.int32), (note,)
