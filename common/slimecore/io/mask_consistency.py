"""Several masks that belong together: of several frames of a clip, or views of a mesh."""

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

_SAME_COLOR = 16  # largest difference of a channel


def parse_numbered(text: str) -> tuple[int | None, Path]:
    """Number and file of ``N=MASK``; None and the file of ``MASK``. A file that is called so counts as such."""
    numbered = re.fullmatch(r"(\d+)=(.+)", text)
    if numbered and not Path(text).exists():
        return int(numbered[1]), Path(numbered[2])
    return None, Path(text)


def harmonize_values(masks: Sequence[MaskFile], sources: Sequence[str]) -> tuple[list[MaskFile], list[str]]:
    """Masks whose values mean the same: those told apart by colour get common numbers.

    Parameters
    ----------
    masks : sequence of MaskFile
    sources : sequence of str
        Names for messages.

    Returns
    -------
    masks : list of MaskFile
    notes : list of str
        Of all masks, and what was decided about colours.

    Raises
    ------
    InputError
        Some masks are numbered by their colours, and others have none to match.
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
    table: list[npt.NDArray[Any]] = []
    out = []
    for mask in masks:
        labels = np.where(mask.labels > 0, 0, mask.labels)
        colors = {}
        for value in mask.values:
            color = np.array(mask.colors[value])
            number = next((i for i, c in enumerate(table, 1) if np.abs(c - color).max() <= _SAME_COLOR), None)
            if number is None:
                table.append(color)
                number = len(table)
            labels[mask.labels == value] = number
            colors[number] = mask.colors[value]
        out.append(replace(mask, labels=labels, colors=colors))
    listed = ", ".join(f"#{r:02x}{g:02x}{b:02x}={i}" for i, (r, g, b) in enumerate(table, 1))
    return out, [n for n in notes if "are numbered" not in n] + [f"colours are numbered over all masks: {listed}"]
