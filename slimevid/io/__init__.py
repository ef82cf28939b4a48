"""Read clips, from a video file or a folder of frames, as a stream. No reader holds a whole clip in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Protocol

from slimecore.errors import InputError
from slimecore.io.images import list_images
from slimecore.types import Frame

__all__ = ["Clip", "open_clip", "read_range"]


_PICTURE_SUFFIXES = (".tif", ".tiff", ".webp", ".png", ".apng", ".jpg", ".jpeg", ".bmp")


class Clip(Protocol):
    """A clip that can be read in both directions with constant memory.

    Attributes
    ----------
    name : str
        Name of the folder, or of the file without its suffix.
    size : (int, int)
        Height and width of every frame, in pixels.
    pixel_shape : Fraction
        Width of a pixel divided by its height. Not 1 in clips that are shown wider than they are stored.
    fps : Fraction
        Frames per second.
    notes : tuple of str
        Warnings about a readable but incomplete clip: missing frames, a truncated file.
    """

    name: str
    size: tuple[int, int]
    pixel_shape: Fraction
    fps: Fraction
    notes: tuple[str, ...]

    def __len__(self) -> int:
        """Return the number of frames."""
        ...

    def read(self, start: int, stop: int, step: int = 1) -> Iterator[Frame]:
        """Yield the frames of ``range(start, stop, step)`` in order.

        Parameters
        ----------
        start, stop, step : int
            Frame numbers, counted from 0. `step` is positive.

        Yields
        ------
        Frame

        Raises
        ------
        InputError
            A frame is corrupt, missing or of another size. The message names it.
        """
        ...

    def read_reversed(self, start: int, stop: int, step: int = 1) -> Iterator[Frame]:
        """Yield the frames of ``range(start, stop, step)`` from the last to the first.

        Parameters
        ----------
        start, stop, step : int
            As in :meth:`read`.

        Yields
        ------
        Frame
        """
        ...

    def stems(self) -> list[str]:
        """Return the file stem of every frame's mask, in frame order."""
        ...

    def fingerprint(self) -> str:
        """Return a hash of the files' names, sizes and contents, without decoding them.

        Large files are sampled instead of read in full.
        """
        ...


def open_clip(path: Path | str, leave_out: Sequence[Path] = ()) -> Clip:
    """Open a video file, a folder of frames, or a picture file with several pages.

    Parameters
    ----------
    path : Path or str
    leave_out : sequence of Path
        Files in the folder that are not frames, for instance masks beside them.

    Returns
    -------
    Clip

    Raises
    ------
    InputError
        The path is missing, empty, or not readable as a clip.
    """
    path = Path(path)
    if path.is_dir():
        from slimevid.io.image_folder import FolderClip

        return FolderClip(path, leave_out)
    if not path.exists():
        raise InputError(f"no such clip: {path}; give a video file or a folder of frames")
    if path.suffix.lower() in _PICTURE_SUFFIXES:
        from slimevid.io.image_pages import PagesClip

        return PagesClip(path)
    from slimevid.io.video import VideoClip

    return VideoClip(path)


def read_range(clip: Clip, frames: range) -> Iterator[Frame]:
    """Yield the frames of a range with a positive or a negative step."""
    if frames.step > 0:
        return clip.read(frames.start, frames.stop, frames.step)
    ascending = frames[::-1]
    return clip.read_reversed(ascending.start, ascending.stop, ascending.step)


def _folder_hint(path: Path) -> str:
    """Return the end of an error message about a folder without frames, with the path to give instead."""
    subfolders = [p.name for p in sorted(path.iterdir()) if p.is_dir() and list_images(p)][:3]
    return (
        f"; its folders {', '.join(subfolders)} do: give one of them"
        if subfolders
        else "; give a folder of JPEG or PNG frames"
    )
