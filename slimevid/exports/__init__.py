"""Exports of finished results: a file per format, with a function ``write(results)``.

An export depends on masks and frames only. Therefore a resumed or corrected run gives the same files.
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
    """A result folder with a mask of every labelled frame.

    Parameters
    ----------
    masks : Path
        Folder of masks.
    target : Path
        File or folder to write.
    clip : Clip
    frames : range
        Numbers of the labelled frames.
    parts : Parts
    on_frame : callable(done, total)
        Called after every exported frame.
    """

    masks: Path
    target: Path
    clip: Clip
    frames: range
    parts: Parts
    on_frame: Callable[[int, int], None] = lambda _done, _total: None

    def mask(self, stem: str) -> Path:
        """Return the path of a frame's mask file."""
        return self.masks / f"{stem}.png"
