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
from slimecore.io.masks import MAX_INDEXED_VALUE, MaskFile

__all__ = ["ColorNumbers", "harmonize_values", "matching_colors", "parse_numbered"]

_MAX_CHANNEL_DIFFERENCE = 16  # grey levels of 0..255; closer colours are the same part


def parse_numbered(text: str) -> tuple[int | None, Path]:
    """Split ``N=MASK`` into its number and path.

    A text without a number, or the name of an existing file, gives None and the whole text as path.
    """
    numbered = re.fullmatch(r"(\d+)=(.+)", text)
    if numbered and not Path(text).exists():
        return int(numbered[1]), Path(numbered[2])
    return None, Path(text)


def matching_colors(mask: MaskFile) -> dict[int, tuple[int, int, int]]:
    """Return the colour of each part value by which masks can be matched, fewer than the values if some have none."""
    if mask.is_binary_255 and not mask.values_are_indices:
        return dict.fromkeys(mask.values, (255, 255, 255))
    return {**{v: (g, g, g) for v, g in mask.gray_levels.items()}, **mask.colors}


class ColorNumbers:
    """Numbers of colours, equal for equal colours of all masks seen so far."""

    def __init__(self) -> None:
        self.colors: list[npt.NDArray[Any]] = []  # number i belongs to entry i - 1

    def renumber(self, mask: MaskFile, source: str, palettes: bool = False) -> MaskFile:
        """Number a mask by its colours. New colours get the next numbers.

        Parameters
        ----------
        mask : MaskFile
        source : str
            Name of the mask in messages.
        palettes : bool
            Match the colours of palettes too.

        Raises
        ------
        InputError
            The mask has no colours to match.
        """
        colors = matching_colors(mask)
        if set(mask.values) - set(colors) or (mask.values_are_indices and not palettes and mask.values):
            raise InputError(
                f"{source}: its values cannot be matched with those of the other masks; save all masks as "
                "indexed PNG with the same ids, or all in the same colours"
            )
        labels = np.where(mask.labels > 0, 0, mask.labels)
        numbered: dict[int, tuple[int, int, int]] = {}
        for value in mask.values:
            number = self._number(np.array(colors[value], np.int32), set(numbered))
            labels[mask.labels == value] = number
            numbered[number] = colors[value]
        return replace(mask, labels=labels, colors=numbered, gray_levels={})

    def _number(self, color: npt.NDArray[Any], taken: set[int]) -> int:
        """Return the number of the nearest known colour that no part of the same mask has, or a new one."""
        distance = {i: int(np.abs(c - color).max()) for i, c in enumerate(self.colors, 1) if i not in taken}
        nearest = min(distance, key=lambda i: distance[i], default=0)
        if nearest and distance[nearest] <= _MAX_CHANNEL_DIFFERENCE:
            return nearest
        self.colors.append(color)
        return len(self.colors)

    def listed(self) -> str:
        """Return the numbering as text."""
        return ", ".join(f"#{r:02x}{g:02x}{b:02x}={i}" for i, (r, g, b) in enumerate(self.colors, 1))


def _palettes_disagree(masks: Sequence[MaskFile]) -> bool:
    """Return True if colours of indexed masks change places: the indices come from palettes in different orders."""
    value_of_color: dict[tuple[int, int, int], int] = {}
    color_of_value: dict[int, tuple[int, int, int]] = {}
    moved = changed = False
    for mask in masks:
        for value, color in mask.colors.items():
            moved |= value_of_color.setdefault(color, value) != value
            changed |= color_of_value.setdefault(value, color) != color
    return moved and changed


def harmonize_values(
    masks: Sequence[MaskFile], sources: Sequence[str], max_value: int = MAX_INDEXED_VALUE
) -> tuple[list[MaskFile], list[str]]:
    """Renumber masks so that a value means the same part in all of them.

    Masks that were numbered by colour get common numbers, equal for equal colours, and so do indexed masks whose
    palettes have the same colours in different orders. A single mask stays unchanged, and so do masks with values of
    their own.

    Parameters
    ----------
    masks : sequence of MaskFile
    sources : sequence of str
        Name of each mask in messages.
    max_value : int
        Largest part value that results can hold.

    Returns
    -------
    masks : list of MaskFile
    notes : list of str
        Notes of all masks, and the common numbering of the colours.

    Raises
    ------
    InputError
        A mask is numbered by its colours, and another has no colours to match. A part value is above `max_value`.
    """
    notes = [note for mask in masks for note in mask.notes]
    palettes = _palettes_disagree(masks)
    if len(masks) == 1 or not (palettes or any(mask.values_are_arbitrary for mask in masks)):
        for mask, source in zip(masks, sources, strict=True):
            if mask.values and mask.values[-1] > max_value:
                raise InputError(
                    f"{source}: part value {mask.values[-1]} does not fit an indexed PNG; use values 1..{max_value}"
                )
        return list(masks), notes
    numbers = ColorNumbers()
    renumbered = [numbers.renumber(mask, source, palettes) for mask, source in zip(masks, sources, strict=True)]
    return renumbered, [n for n in notes if "are numbered" not in n] + [
        f"colours are numbered over all masks: {numbers.listed()}"
    ]
