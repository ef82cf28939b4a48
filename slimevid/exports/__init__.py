"""Further forms of the results, made from the masks once all are written: one file each, ``write(out, clip, ...)``.

They depend on nothing but masks and frames, so a run that was stopped and resumed, or corrected, gives the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from slimecore.types import Parts
from slimevid.io import Clip

__all__ = ["Results"]


@dataclass(frozen=True, slots=True, eq=False)
class Results:
    """A result folder whose masks are complete.

    Parameters
    ----------
    masks : Path
        Folder of masks.
    target : Path
        File or folder to write.
    clip : Clip
    frames : range
        Those that have masks.
    parts : Parts
    told : callable(done, total)
        After every frame.
    """

    masks: Path
    target: Path
    clip: Clip
    frames: range
    parts: Parts
    told: Callable[[int, int], None] = lambda _done, _total: None

    def mask(self, stem: str) -> Path:
        """File of a frame's mask."""
        return self.masks / f"{stem}.png"
