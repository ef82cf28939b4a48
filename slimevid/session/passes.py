"""Passes over a clip: forward and backward from every reference, half way to the next.

A *reference interval* lies between two neighbouring references, or between a reference and an end of the clip. Two
passes label its frames, forward from its left end and backward from its right end, and meet half way. The frame of a
reference belongs to the interval that the reference begins. The masks of an interval depend on its two ends, and
through the permanent memory on all other references. A correction re-runs the intervals that it touches and no others.
See docs/adr/0020.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Pass", "ReferenceInterval", "plan"]


@dataclass(frozen=True, slots=True)
class Pass:
    """Consecutive frames, labelled from a reference on.

    Parameters
    ----------
    reference : int
        Frame of the reference.
    frames : range
        Increasing from the reference on, which is included if the stride meets it, or decreasing from the frame before.
    """

    reference: int
    frames: range

    @property
    def starts_on_reference(self) -> int:
        """1 if the first frame is that of the reference, else 0."""
        return int(self.frames[0] == self.reference)

    def last_complete_span(self, done: int, span: int) -> int:
        """Round `done` down to complete spans of `span` frames, the frame of the reference not counted."""
        return done - (done - self.starts_on_reference) % span if done else 0


@dataclass(frozen=True, slots=True)
class ReferenceInterval:
    """Frames between two neighbouring references.

    Parameters
    ----------
    left, right : int or None
        Frames of the references at its ends; None is an end of the clip.
    passes : tuple of Pass
        Empty passes are left out.
    """

    left: int | None
    right: int | None
    passes: tuple[Pass, ...]

    def frames(self) -> list[int]:
        """Return all frames of the interval, increasing."""
        return sorted(index for pass_ in self.passes for index in pass_.frames)


def plan(references: Sequence[int], frames: range) -> list[ReferenceInterval]:
    """Return the reference intervals of a clip, in order.

    Parameters
    ----------
    references : sequence of int
        Distinct frames, at least one. They need not be among `frames`.
    frames : range
        Frames to label, increasing.

    Returns
    -------
    list of ReferenceInterval
    """
    ends: list[int | None] = [None, *sorted(references), None]
    intervals = []
    for left, right in itertools.pairwise(ends):
        if left is None and right is not None:
            passes = [Pass(right, _between(frames, None, right)[::-1])]
        elif left is not None and right is None:
            passes = [Pass(left, _between(frames, left, None))]
        elif left is not None and right is not None:
            middle = (left + right) // 2 + 1  # the middle is equally near to both and goes forward
            passes = [
                Pass(left, _between(frames, left, middle)),
                Pass(right, _between(frames, middle, right)[::-1]),
            ]
        else:
            raise ValueError("a plan needs at least one reference")
        intervals.append(ReferenceInterval(left, right, tuple(pass_ for pass_ in passes if len(pass_.frames))))
    return intervals


def _between(frames: range, low: int | None, high: int | None) -> range:
    """Return the part of `frames` with ``low <= i < high``."""
    first = 0 if low is None else max(0, -(-(low - frames.start) // frames.step))
    last = len(frames) if high is None else max(0, -(-(high - frames.start) // frames.step))
    return frames[first : min(last, len(frames))]
