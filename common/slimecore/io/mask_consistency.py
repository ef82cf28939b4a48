"""Make part values agree between several masks: of frames of a clip, or of views of a mesh."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError
from slimecore.io.masks import MaskFile

__all__ = ["harmonize_values", "parse_numbered"]

_MAX_CHANNEL_DIFFERENCE = 16  # grey levels of 0..255; closer colours are the same part


def parse_numbered(text: str) -> tuple[int | None, Path]:
    """Split ``N=MASK`` into its number and path.

    A text without a number, or the name of an existing file, gives None and the whole text as path.
    """
    numbered = re.fullmatch(r"(\d+)=(.+)", text)
    if numbered and not Path(text).exists():
        return int(numbered[1]), Path(numbered[2])
    return None, Path(text)


def harmonize_values(masks: Sequence[MaskFile], sources: Sequence[str]) -> tuple[list[MaskFile], list[str]]:
    """Renumber masks so that a value means the same part in all of them.

    Masks that were numbered by colour get common numbers, equal for equal colours. A single mask stays unchanged, and
    so do masks with values of their own.

    Parameters
    ----------
    masks : sequence of MaskFile
    sources : sequence of str
        Name of each mask in messages.

    Returns
    -------
    masks : list of MaskFile
    notes : list of str
        Notes of all masks, and the common numbering of the colours.

    Raises
    ------
    InputError
        A mask is numbered by its colours, and another has no colours to match.
    """
    notes = [note for mask in masks for note in mask.notes]
    if len(masks) == 1 or not any(mask.values_are_arbitrary for mask in masks):
        return list(masks), notes
    for mask, source in zip(masks, sources, strict=True):
        if not mask.values_are_arbitrary or set(mask.values) - set(mask.colors):
            raise InputError(
                f"{source}: its values cannot be matched with those of the other masks; save all masks as "
                "indexed PNG with the same ids, or all in the same colours"
            )
    known_colors: list[npt.NDArray[Any]] = []
    renumbered = []
    for mask in masks:
        labels = np.where(mask.labels > 0, 0, mask.labels)
        colors = {}
        for value in mask.values:
            color = np.array(mask.colors[value])
            number = next(
                (i for i, c in enumerate(known_colors, 1) if np.abs(c - color).max() <= _MAX_CHANNEL_DIFFERENCE), None
            )
            if number is None:
                known_colors.append(color)
                number = len(known_colors)
            labels[mask.labels == value] = number
            colors[number] = mask.colors[value]
        renumbered.append(replace(mask, labels=labels, colors=colors))
    listed = ", ".join(f"#{r:02x}{g:02x}{b:02x}={i}" for i, (r, g, b) in enumerate(known_colors, 1))
    return renumbered, [n for n in notes if "are numbered" not in n] + [
        f"colours are numbered over all masks: {listed}"
    ]
