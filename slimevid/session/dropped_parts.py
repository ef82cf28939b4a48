"""Dropped parts are left out of the results from a frame on, until a later reference marks them again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.types import Annotation

__all__ = ["Drops", "merged_into_background"]


class Drops:
    """Parts and the frames from which on they are dropped.

    Parameters
    ----------
    pairs : iterable of (int, int)
        Frame and part value.
    """

    def __init__(self, pairs: Iterable[tuple[int, int]] = ()) -> None:
        self._pairs = {(int(frame), int(value)) for frame, value in pairs}

    def add(self, value: int, frame: int, values: tuple[int, ...]) -> None:
        """Drop a part from a frame on.

        Parameters
        ----------
        value : int
            Part value.
        frame : int
        values : tuple of int
            Values of all parts, the background first.

        Raises
        ------
        InputError
            No such part.
        """
        if value not in values[1:]:
            raise InputError(f"there is no part {value} to drop, there are {', '.join(map(str, values[1:]))}")
        self._pairs.add((frame, value))

    def to_array(self) -> npt.NDArray[np.int64]:
        """Return all pairs, (n, 2)."""
        return np.array(sorted(self._pairs), np.int64).reshape(-1, 2)

    def rows(self, index: int, values: tuple[int, ...], references: Mapping[int, Annotation]) -> list[int]:
        """Return the rows of parts that are dropped at a frame.

        Parameters
        ----------
        index : int
            Number of the frame.
        values : tuple of int
            Values of all parts, the background first.
        references : mapping of int to Annotation
            By frame.
        """
        dropped = {
            values.index(value)
            for first, value in self._pairs
            if index >= first and not self._is_marked(values.index(value), first, index, references)
        }
        return sorted(dropped)

    @staticmethod
    def _is_marked(row: int, first: int, last: int, references: Mapping[int, Annotation]) -> bool:
        """Tell if a reference from frame `first` to `last` marks the part."""
        return any(first <= i <= last and bool((a.rows == row).any()) for i, a in references.items())


def merged_into_background(soft: Array, rows: Sequence[int]) -> Array:
    """Return soft labels (P, h, w) with the probabilities of `rows` moved to the background."""
    if not rows:
        return soft
    merged = soft.copy()
    merged[0] += soft[np.asarray(rows)].sum(0)
    merged[np.asarray(rows)] = 0
    return merged
