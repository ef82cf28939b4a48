"""Clips in: a video file or a folder of frames, streamed; nothing holds a whole clip."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from slimecore.errors import InputError
from slimecore.io.images import list_images
from slimecore.types import Frame

__all__ = ["Clip", "open_clip", "read_range"]


class Clip(Protocol):
    """A clip that can be read in both directions with constant memory.

    Attributes
    ----------
    notes : tuple of str
        What looks amiss but can be read: frames that are missing.
    """

    name: str
    size: tuple[int, int]
    fps: Fraction
    notes: tuple[str, ...]

    def __len__(self) -> int:
        """Number of frames."""
        ...

    def read(self, start: int, stop: int, step: int = 1) -> Iterator[Frame]:
        """Frames of ``range(start, stop, step)`` in order.

        Raises
        ------
        InputError
            A frame is corrupt, missing or of another size; the message names it.
        """
        ...

    def read_reversed(self, start: int, stop: int, step: int = 1) -> Iterator[Frame]:
        """Frames of ``range(start, stop, step)`` from the last to the first."""
        ...

    def stems(self) -> list[str]:
        """File stem of every frame's mask."""
        ...

    def fingerprint(self) -> str:
        """Hash of the files' names, sizes and (of large ones, a sample of) contents; nothing is decoded."""
        ...


def open_clip(path: Path, leave_out: Sequence[Path] = ()) -> Clip:
    """Open a video file or a folder of frames.

    Parameters
    ----------
    path : Path
    leave_out : sequence of Path
        Files in the folder that are no frames: masks, when they lie among them.

    Raises
    ------
    InputError
        Missing, empty, or not readable as a clip.
    """
    if path.is_dir():
        from slimevid.io.image_folder import FolderClip

        return FolderClip(path, leave_out)
    if not path.exists():
        raise InputError(f"no such clip: {path}; give a video file or a folder of frames")
    from slimevid.io.video import VideoClip

    return VideoClip(path)


def read_range(clip: Clip, frames: range) -> Iterator[Frame]:
    """Frames of a range of either direction."""
    if frames.step > 0:
        return clip.read(frames.start, frames.stop, frames.step)
    ascending = frames[::-1]
    return clip.read_reversed(ascending.start, ascending.stop, ascending.step)


def _folder_hint(path: Path) -> str:
    inner = [p.name for p in sorted(path.iterdir()) if p.is_dir() and list_images(p)][:3]
    return (
        f"; its folders {', '.join(inner)} do: give one of them" if inner else "; give a folder of JPEG or PNG frames"
    )
