"""How a decoded picture is shown: its colours, upright, with square pixels."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

__all__ = ["Orientation", "display_size", "read_orientation", "show", "stretch", "to_rgb"]

_UNSAID_MATRIX = 2  # code of a video that does not say how its colours are coded
_BT709_MATRIX = 1
_HD_LINES, _HD_COLUMNS = 576, 1280  # players take unsaid colours of more lines, or as many columns, for BT.709
_MIN_STRETCH = 0.01  # a pixel shape that is nearer to a square is a rounding of the encoder

Orientation = tuple[bool, bool, bool]  # sides are swapped, then columns mirrored, then rows mirrored


def read_orientation(image: Any) -> Orientation:
    """Return how to turn and mirror a decoded image, from its display matrix.

    The matrix maps columns x and rows y to ``(a x + c y, b x + d y)``. It is rounded to the nearest quarter turn.
    """
    entry = image.side_data.get("DISPLAYMATRIX")
    if entry is None:
        return False, False, False
    a, b, _, c, d = (int(value) for value in np.frombuffer(bytes(entry), np.int32)[:5])
    if abs(b) + abs(c) > abs(a) + abs(d):
        return True, c < 0, b < 0
    return False, a < 0, d < 0


def show(rgb: npt.NDArray[np.uint8], orientation: Orientation) -> npt.NDArray[np.uint8]:
    """Return an image turned and mirrored."""
    swapped, mirrored, flipped = orientation
    turned = rgb.swapaxes(0, 1) if swapped else rgb
    turned = turned[:, ::-1] if mirrored else turned
    return np.ascontiguousarray(turned[::-1] if flipped else turned)


def to_rgb(image: Any) -> npt.NDArray[np.uint8]:
    """Return a decoded image as (h, w, 3) uint8 RGB, in the colours that players show."""
    is_coded_in_rgb = image.format.is_rgb or image.format.name.startswith(("gray", "mono", "pal8"))
    is_hd = image.height > _HD_LINES or image.width >= _HD_COLUMNS
    unsaid = int(image.colorspace) == _UNSAID_MATRIX
    matrix = {"src_colorspace": _BT709_MATRIX} if unsaid and is_hd and not is_coded_in_rgb else {}
    rgb: npt.NDArray[np.uint8] = image.to_ndarray(format="rgb24", **matrix)
    return rgb


def display_size(size: tuple[int, int], pixel_shape: Fraction) -> tuple[int, int]:
    """Return height and width in square pixels. The height is kept, as players do.

    Parameters
    ----------
    size : (int, int)
        Stored height and width.
    pixel_shape : Fraction
        Width of a pixel divided by its height.
    """
    if abs(pixel_shape - 1) <= _MIN_STRETCH:
        return size
    return size[0], max(1, round(size[1] * pixel_shape))


def stretch(rgb: npt.NDArray[np.uint8], pixel_shape: Fraction) -> npt.NDArray[np.uint8]:
    """Return an image with square pixels."""
    height, width = display_size((rgb.shape[0], rgb.shape[1]), pixel_shape)
    if (height, width) == rgb.shape[:2]:
        return rgb
    return np.asarray(cv2.resize(rgb, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
