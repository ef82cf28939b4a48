"""Find out whether the indices of an indexed image are part values, and whether a mask was dithered.

Image programs write GIF and PNG-8 with palettes in an order of their own: entry 0 may be an object, and black any other
entry. Such a mask is read by its colours.
"""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.imaging.palette import davis_palette
from slimecore.io.mask_quantization import flat, label_levels

__all__ = ["BLACK", "border_values", "indexed_colors", "require_no_dithering"]

BLACK = 12  # grey levels 0..255; a colour whose channels are at most this is black
_MIN_SPECKS = 32  # pixels; a mask with fewer specks is not dithered
_MIN_SPECKS_IN_WINDOW = 13  # of 7 x 7 pixels; diagonal lines of a pixel's width, six pixels apart, have 9
_MIN_SPECK_SHARE = 0.02  # of the pixels that are not background


def indexed_colors(image: Image.Image, path: Path) -> tuple[Array | None, tuple[str, ...]]:
    """Return the colours of an indexed image whose indices are no part values.

    Indices are part values if the palette is DAVIS' or a grey ramp, or if entry 0 is black, or if entry 0 is the most
    common value of the image's border.

    Parameters
    ----------
    image : PIL.Image.Image
        Of mode P.
    path : Path
        File of the mask, for messages.

    Returns
    -------
    rgb : (h, w, 3) uint8 or None
        Colours with a black background. None if the indices are part values.
    notes : tuple of str
        How the background was found, where there was a choice.

    Raises
    ------
    InputError
        The mask is dithered, or its background cannot be told.
    """
    palette = np.asarray(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    indices = np.asarray(image)
    used = np.unique(indices)
    if used[-1] >= len(palette):
        return None, ()  # entries without colours
    colors = palette[used]
    if (colors == davis_palette()[used]).all() or (colors == used[:, None]).all():
        return None, ()
    rgb = palette[indices]
    has_blends = _has_blends(rgb, indices, path)
    if not has_blends:
        require_no_dithering(indices, path)
    hidden = [v for v in _transparent_entries(image) if v in used]
    if hidden and 0 not in hidden:
        rgb[np.isin(indices, hidden)] = 0
        return rgb, (f"{path.name}: transparent pixels are background, and the other colours are the parts",)
    black = [int(v) for v, color in zip(used, colors, strict=True) if v and color.max() <= BLACK]
    if 0 in used and palette[0].max() <= BLACK:
        return (rgb, (_color_note(path),)) if has_blends else (None, ())
    return _by_border(rgb, indices, palette, black, path)


def _by_border(
    rgb: Array, indices: Array, palette: Array, black: list[int], path: Path
) -> tuple[Array | None, tuple[str, ...]]:
    """Decide a mask whose entry 0 is no black pixel by the `black` entries and the values along the border."""
    edge, shares = border_values(indices)
    has_zero = bool((indices == 0).any())
    if has_zero and edge == 0:
        if not black:
            return None, ()
        return None, (f"{path.name}: entry 0 ({_hex(palette[0])}) is background, and black is part {black[0]}",)
    if black:
        rgb[np.isin(indices, black)] = 0
        return rgb, (f"{path.name}: entry 0 of its palette is not the background, so black is",)
    if not has_zero:
        return None, (f"{path.name}: no pixel has value 0, so the mask has no background",)
    if shares[0] == 0 and shares[edge] >= 0.5:
        rgb[(rgb == palette[edge]).all(-1)] = 0
        note = f"entry 0 of its palette is not the background, so {_hex(palette[edge])} along the border is"
        return rgb, (f"{path.name}: {note}",)
    if palette[0].min() >= 255 - BLACK:
        return None, (f"{path.name}: entry 0 (white) is background",)
    raise InputError(
        f"{path}: entry 0 of its palette ({_hex(palette[0])}) may be a part or the background; fill the background "
        "with black, or save the mask in RGB colours"
    )


def border_values(indices: Array) -> tuple[int, Array]:
    """Return the most common value along the border of (h, w) uint8 indices, and the share of every value there."""
    border = np.concatenate([indices[0], indices[-1], indices[:, 0], indices[:, -1]])
    shares = np.bincount(border, minlength=256) / len(border)
    return int(shares.argmax()), shares


def _transparent_entries(image: Image.Image) -> list[int]:
    """Return the palette entries that are fully transparent."""
    transparency = image.info.get("transparency")
    if isinstance(transparency, int):
        return [transparency]
    return [i for i, alpha in enumerate(transparency or b"") if alpha == 0]


def _has_blends(rgb: Array, indices: Array, path: Path) -> bool:
    """Return True if colours of the palette are blends between others: the mask was anti-aliased."""
    used = np.unique(indices)
    filled = len(np.unique(indices[flat(indices)]))
    if len(used) > 8:
        return len(used) - filled >= max(4, 2 * filled)
    return 2 <= filled <= len(used) - 2 and len(label_levels(rgb, path)[0]) <= len(used) - 2


def _color_note(path: Path) -> str:
    return f"{path.name}: colours of its palette are blends of others, so it is read by colour; black is background"


def _hex(color: Array) -> str:
    r, g, b = (int(c) for c in color)
    return f"#{r:02x}{g:02x}{b:02x}"


def require_no_dithering(values: Array, path: Path) -> None:
    """Raise if areas of a mask are patterns of specks, as conversions with dithering leave them.

    A speck is a pixel that differs from its four neighbours. Specks that lie apart do not count, and neither do
    diagonal lines.

    Parameters
    ----------
    values : (h, w) uint8 or bool
    path : Path
        File of the mask, for messages.

    Raises
    ------
    InputError
        The mask is dithered.
    """
    plane = np.pad(np.asarray(values).astype(np.int16), 1, constant_values=-1)
    center = plane[1:-1, 1:-1]
    sides = [plane[:-2, 1:-1], plane[2:, 1:-1], plane[1:-1, :-2], plane[1:-1, 2:]]
    corners = [plane[:-2, :-2], plane[:-2, 2:], plane[2:, :-2], plane[2:, 2:]]
    alone = np.logical_and.reduce([side != center for side in sides])
    diagonal = np.sum([corner == center for corner in corners], axis=0)
    off_lines = alone & ((diagonal == 0) | (diagonal >= 3))
    near, near_off_lines = (
        cv2.boxFilter(specks.astype(np.float32), -1, (7, 7), normalize=False) for specks in (alone, off_lines)
    )
    dense = (off_lines & (near_off_lines >= 3)) | (alone & (near >= _MIN_SPECKS_IN_WINDOW))
    foreground = int(np.count_nonzero(np.asarray(values) != border_values(np.asarray(values).astype(np.uint8))[0]))
    if np.count_nonzero(dense) >= max(_MIN_SPECKS, _MIN_SPECK_SHARE * foreground):
        raise InputError(
            f"{path}: areas are patterns of single pixels, so the mask was converted with dithering; "
            "save it again without dithering"
        )
