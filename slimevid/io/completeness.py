"""Detect incomplete clips whose files are all readable: gaps in the numbering, truncated videos."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction
from itertools import pairwise
from statistics import mode

__all__ = ["is_truncated", "missing_numbers"]

_MIN_REGULAR_STEP_SHARE = 0.8  # share of equal steps from which other steps count as gaps
_MIN_FRAMES = 5  # shorter sequences are not checked
_MAX_NAMED_FRAMES = 5  # of the missing frames in a note
# Recorders may count frames that they dropped: up to 2, or a 50th of the announced number, may be missing.
_TOLERATED_FRAMES, _TOLERATED_FRAME_DIVISOR = 2, 50
_TOLERATED_SECONDS = Fraction(1, 2)  # the last frame's display time is not always counted


def missing_numbers(stems: Sequence[str]) -> tuple[str, ...]:
    """Return a note on frames missing from a regular numbering.

    Parameters
    ----------
    stems : sequence of str
        File stems in frame order, for instance ``img_0001``.

    Returns
    -------
    tuple of str
        A single note, or an empty tuple if no frame is missing or the numbering is irregular.
    """
    matches = [re.fullmatch(r"(.*?)(\d+)", stem, re.DOTALL) for stem in stems]
    prefixes_and_numbers = [(match[1], int(match[2])) for match in matches if match]
    if (
        len(stems) < _MIN_FRAMES
        or len(prefixes_and_numbers) < len(stems)
        or len({name for name, _ in prefixes_and_numbers}) > 1
    ):
        return ()
    numbers = [number for _, number in prefixes_and_numbers]
    steps = [after - before for before, after in pairwise(numbers)]
    step = mode(steps)
    if step < 1 or steps.count(step) < _MIN_REGULAR_STEP_SHARE * len(steps) or max(steps) > step * len(steps):
        return ()
    name, digits = prefixes_and_numbers[0][0], len(stems[0]) - len(prefixes_and_numbers[0][0])
    missing = [
        f"{name}{number:0{digits}d}"
        for before, after in pairwise(numbers)
        for number in range(before + step, after, step)
    ]
    if not missing:
        return ()
    named = ", ".join(missing[:_MAX_NAMED_FRAMES]) + (
        f" and {len(missing) - _MAX_NAMED_FRAMES} more" if len(missing) > _MAX_NAMED_FRAMES else ""
    )
    return (f"frame {named} is not there" if len(missing) == 1 else f"frames {named} are not there",)


def is_truncated(found: tuple[int, Fraction | None], announced: tuple[int, Fraction | None]) -> tuple[str, ...]:
    """Return a note on a video file that holds less than its header announces.

    Parameters
    ----------
    found, announced : (int, Fraction or None)
        Number of frames, and seconds from the first frame to the end of the last. 0 and None if the header does not
        announce them.

    Returns
    -------
    tuple of str
        A single note, or an empty tuple if nothing is missing.
    """
    (frames, seconds), (announced_frames, announced_seconds) = found, announced
    if seconds is not None and announced_seconds is not None and announced_frames:
        frame_time = announced_seconds / announced_frames
        if announced_seconds - seconds <= _TOLERATED_FRAMES * frame_time:
            return ()  # the last frame is there: recorders announce frames that they dropped too
    if announced_frames - frames > max(_TOLERATED_FRAMES, announced_frames // _TOLERATED_FRAME_DIVISOR):
        return (f"{frames} frames found, {announced_frames} announced; the file may be cut off",)
    if (
        not announced_frames
        and seconds is not None
        and announced_seconds is not None
        and announced_seconds - seconds > _TOLERATED_SECONDS
    ):
        return (f"{float(seconds):.1f} s found, {float(announced_seconds):.1f} s announced; the file may be cut off",)
    return ()
