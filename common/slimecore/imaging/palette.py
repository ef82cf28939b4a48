"""Compute the DAVIS palette (bit-interleaved, as in PASCAL VOC)."""

from __future__ import annotations

from functools import cache

import numpy as np
import numpy.typing as npt

__all__ = ["davis_palette"]


@cache
def davis_palette() -> npt.NDArray[np.uint8]:
    """Return the colours of the label values 0..255.

    Returns
    -------
    (256, 3) uint8
        RGB: 0 black, 1 (128, 0, 0), 2 (0, 128, 0), 3 (128, 128, 0), 4 (0, 0, 128) ...

    Notes
    -----
    Bit ``3 i + c`` of a value sets bit ``7 - i`` of channel ``c``.
    """
    values = np.arange(256, dtype=np.uint8)
    palette = np.zeros((256, 3), np.uint8)
    for bit in range(8):
        for channel in range(3):
            source = 3 * bit + channel
            if source < 8:
                palette[:, channel] |= ((values >> source) & 1) << (7 - bit)
    palette.flags.writeable = False  # shared by all callers
    return palette
