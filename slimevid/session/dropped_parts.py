"""Parts that were dropped are left out of the results from a frame on, until a later reference marks them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError
from slimecore.types import Annotation

__all__ = ["Drops", "merged_into_background"]


class Drops:
    """Since which frames parts are dropped: pairs of a frame and a part's value."""

    def __init__(self, given: Iterable[tuple[int, int]] = ()) -> None:
        self._given = {(int(frame), int(value)) for frame, value in given}

    def add(self, value: int, frame: int, values: tuple[int, ...]) -> None:
        """Drop the part with some value, one of `values`, from a frame on.

        Raises
        ------
        InputError
            No such part.
        """
        if value not in values[1:]:
            raise InputError(f"there is no part {value} to drop, there are {', '.join(map(str, values[1:]))}")
        self._given.add((frame, value))

    def to_array(self) -> npt.NDArray[np.int64]:
        """(n, 2): what :class:`Drops` is made of again."""
        return np.array(sorted(self._given), np.int64).reshape(-1, 2)

    def rows(self, index: int, values: tuple[int, ...], references: Mapping[int, Annotation]) -> list[int]:
        """Rows of the parts that are left out of a frame, given what the references mark, by their frames."""
        found = {
            values.index(value)
            for first, value in self._given
            if index >= first and not self._again(values.index(value), first, index, references)
        }
        return sorted(found)

    @staticmethod
    def _again(row: int, first: int, index: int, references: Mapping[int, Annotation]) -> bool:
        return any(first <= i <= index and bool((a.rows == row).any()) for i, a in references.items())


def merged_into_background(soft: npt.NDArray[Any], rows: Sequence[int]) -> npt.NDArray[Any]:
    """Labels (P, h, w) in which what some rows had is the background's."""
    if not rows:
        return soft
    left = soft.copy()
    left[0] += soft[np.asarray(rows)].sum(0)
    left[np.asarray(rows)] = 0
    return left
