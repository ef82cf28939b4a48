"""COCO's run-length encoding of binary masks: runs of 0 and 1 in column order, written in six-bit pieces."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError

__all__ = ["decode_rle", "encode_rle", "runs_of"]


def runs_of(mask: npt.NDArray[Any]) -> list[int]:
    """Lengths of the runs of a mask (h, w), down the columns, starting with a (perhaps empty) run of 0."""
    flat = (np.asarray(mask) != 0).ravel(order="F")
    borders = np.flatnonzero(np.diff(flat)) + 1
    runs: list[int] = np.diff(np.r_[0, borders, flat.size]).tolist()
    return [0, *runs] if flat.size and flat[0] else runs


def encode_rle(mask: npt.NDArray[Any]) -> dict[str, Any]:
    """COCO's compressed form of a binary mask.

    Parameters
    ----------
    mask : (h, w) array
        0 is outside.

    Returns
    -------
    dict
        ``size`` [h, w] and ``counts`` str: from the third run on, the difference to the run before the last is written;
        each number in pieces of five bits, the lowest first, bit 6 saying that more follow, plus 48.
    """
    runs = runs_of(mask)
    text = []
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            piece = value & 0x1F
            value >>= 5
            more = value != (-1 if piece & 0x10 else 0)
            text.append(chr((piece | (0x20 if more else 0)) + 48))
    return {"size": [int(side) for side in mask.shape], "counts": "".join(text)}


def decode_rle(encoded: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """Mask (h, w) uint8 0/1 of COCO's compressed form.

    Raises
    ------
    InputError
        The runs do not fill the size.
    """
    runs: list[int] = []
    value, shift = 0, 0
    for character in encoded["counts"]:
        code = ord(character) - 48
        value |= (code & 0x1F) << shift
        shift += 5
        if code & 0x20:
            continue
        if code & 0x10:
            value -= 1 << shift
        runs.append(value + (runs[-2] if len(runs) > 2 else 0))
        value, shift = 0, 0
    height, width = encoded["size"]
    if sum(runs) != height * width:
        raise InputError(f"the run lengths cover {sum(runs)} pixels, {width}x{height} has {height * width}")
    flat = np.repeat(np.arange(len(runs), dtype=np.uint8) % 2, runs)
    return flat.reshape((height, width), order="F")
