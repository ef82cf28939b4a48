"""Encode and decode binary masks in the compressed run-length encoding of COCO (``maskApi.c`` of the COCO API).

Runs of 0 and 1 alternate in column-major order. Their lengths are written in groups of five bits as ASCII text.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError

__all__ = ["decode_rle", "encode_rle", "runs_of"]


def runs_of(mask: npt.NDArray[Any]) -> list[int]:
    """Return the run lengths of a (h, w) mask in column-major order, the first being a possibly empty run of 0."""
    flat = (np.asarray(mask) != 0).ravel(order="F")
    boundaries = np.flatnonzero(np.diff(flat)) + 1
    runs: list[int] = np.diff(np.r_[0, boundaries, flat.size]).tolist()
    return [0, *runs] if flat.size and flat[0] else runs


def encode_rle(mask: npt.NDArray[Any]) -> dict[str, Any]:
    """Encode a binary mask in COCO's compressed form.

    From the fourth run on, the difference to the run two before is written. Each number is split into groups of five
    bits, the lowest first. A group has its sixth bit set if more follow, and is written as the character of code
    group + 48.

    Parameters
    ----------
    mask : (h, w) array
        0 is background.

    Returns
    -------
    dict
        ``size`` [h, w] and ``counts`` str.
    """
    runs = runs_of(mask)
    characters = []
    for i, run in enumerate(runs):
        value = run - runs[i - 2] if i > 2 else run
        more = True
        while more:
            group = value & 0x1F
            value >>= 5
            more = value != (-1 if group & 0x10 else 0)
            characters.append(chr((group | (0x20 if more else 0)) + 48))
    return {"size": [int(side) for side in mask.shape], "counts": "".join(characters)}


def decode_rle(encoded: dict[str, Any]) -> npt.NDArray[np.uint8]:
    """Decode COCO's compressed form into a (h, w) uint8 mask of 0 and 1.

    Raises
    ------
    InputError
        The run lengths do not add up to ``h * w``.
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
