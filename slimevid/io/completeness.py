"""Signs that a clip is not whole although all of it that is there can be read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import mode

__all__ = ["is_truncated", "missing_numbers"]

_REGULAR = 0.8  # of the steps of a numbering must be one for the others to be gaps
_LEAST = 5
_NAMED = 5
_FEW, _ONE_IN = 2, 50  # frames: some recorders count those they left out
_SHORT = Fraction(1, 2)  # seconds: less may be how long the last frame is shown


def missing_numbers(stems: Sequence[str]) -> tuple[str, ...]:
    """A note on frames that are missing among files which otherwise count by one step; none where all are there."""
    split = [re.fullmatch(r"(.*?)(\d+)", stem, re.DOTALL) for stem in stems]
    parts = [(found[1], int(found[2])) for found in split if found]
    if len(stems) < _LEAST or len(parts) < len(stems) or len({name for name, _ in parts}) > 1:
        return ()
    numbers = [number for _, number in parts]
    steps = [after - before for before, after in pairwise(numbers)]
    usual = mode(steps)
    if usual < 1 or steps.count(usual) < _REGULAR * len(steps) or max(steps) > usual * len(steps):
        return ()
    name, digits = parts[0][0], len(stems[0]) - len(parts[0][0])
    absent = [
        f"{name}{number:0{digits}d}"
        for before, after in pairwise(numbers)
        for number in range(before + usual, after, usual)
    ]
    if not absent:
        return ()
    shown = ", ".join(absent[:_NAMED]) + (f" and {len(absent) - _NAMED} more" if len(absent) > _NAMED else "")
    return (f"frame {shown} is not there" if len(absent) == 1 else f"frames {shown} are not there",)


def is_truncated(found: tuple[int, Fraction | None], announced: tuple[int, Fraction | None]) -> tuple[str, ...]:
    """A note on a video file that holds less than it announces.

    Parameters
    ----------
    found, announced : (int, Fraction or None)
        Frames, and seconds from the first to the end of the last; 0 and None where the head does not announce them.
    """
    (frames, time), (frames_said, time_said) = found, announced
    if frames_said - frames > max(_FEW, frames_said // _ONE_IN):
        return (f"{frames} frames found, {frames_said} announced; the file may be cut off",)
    if not frames_said and time is not None and time_said is not None and time_said - time > _SHORT:
        return (f"{float(time):.1f} s found, {float(time_said):.1f} s announced; the file may be cut off",)
    return ()
