"""Which reference labels which frame: forward and backward passes from every reference to half way to the next.

A *gap* is what lies between two neighbouring references (or between one and an end of the clip). Its frames are
labelled by two passes, forward from its left end and backward from its right one, which meet half way; a reference's
own frame belongs to the gap it begins. What a gap's masks depend on beside the settings are its two ends, and through
the permanent memory the other references; so a correction re-runs the gaps it touches and no other.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["Pass", "ReferenceInterval", "plan"]


@dataclass(frozen=True, slots=True)
class Pass:
    """Frames labelled one after the other from a reference.

    Parameters
    ----------
    reference : int
        Frame of the reference.
    frames : range
        Increasing from the reference on (which is one of them if it is on the grid), or decreasing to before it.
    """

    reference: int
    frames: range

    @property
    def starts_on_reference(self) -> int:
        """Frames that are the reference's own: 1 or 0."""
        return int(self.frames[0] == self.reference)

    def last_complete_span(self, done: int, span: int) -> int:
        """Of so many frames that are done, those before the span that is not whole, where they come in spans."""
        return done - (done - self.starts_on_reference) % span if done else 0


@dataclass(frozen=True, slots=True)
class ReferenceInterval:
    """Frames between two neighbouring references.

    Parameters
    ----------
    left, right : int or None
        Frames of the references at its ends; None is an end of the clip.
    passes : tuple of Pass
        None empty.
    """

    left: int | None
    right: int | None
    passes: tuple[Pass, ...]

    def frames(self) -> list[int]:
        """All frames of the gap, increasing."""
        return sorted(i for one in self.passes for i in one.frames)


def plan(references: Sequence[int], frames: range) -> list[ReferenceInterval]:
    """Gaps of a clip, from its beginning to its end.

    Parameters
    ----------
    references : sequence of int
        Different frames; at least one. They need not be among `frames`.
    frames : range
        Frames to label, increasing.
    """
    ends: list[int | None] = [None, *sorted(references), None]
    gaps = []
    for left, right in itertools.pairwise(ends):
        if left is None and right is not None:
            passes = [Pass(right, _between(frames, None, right)[::-1])]
        elif left is not None and right is None:
            passes = [Pass(left, _between(frames, left, None))]
        elif left is not None and right is not None:
            middle = (left + right) // 2 + 1  # the middle itself is as near to both: it goes forward
            passes = [
                Pass(left, _between(frames, left, middle)),
                Pass(right, _between(frames, middle, right)[::-1]),
            ]
        else:
            raise ValueError("a plan needs at least one reference")
        gaps.append(ReferenceInterval(left, right, tuple(one for one in passes if len(one.frames))))
    return gaps


def _between(frames: range, low: int | None, high: int | None) -> range:
    """Those of `frames` with ``low <= i < high``."""
    first = 0 if low is None else max(0, -(-(low - frames.start) // frames.step))
    last = len(frames) if high is None else max(0, -(-(high - frames.start) // frames.step))
    return frames[first : min(last, len(frames))]
