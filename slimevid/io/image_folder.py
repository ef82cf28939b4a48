"""Read a folder of image files as a clip. Frames are in natural order of their names (2 before 10)."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image

from slimecore.errors import InputError
from slimecore.io.images import list_images, read_rgb
from slimecore.types import Frame
from slimevid.io import _folder_hint
from slimevid.io.completeness import missing_numbers
from slimevid.io.deep_images import decode_deep, find_white, is_deep, scale_deep, white_note
from slimevid.io.fingerprint import fingerprint
from slimevid.io.image_pages import count_pages

__all__ = ["FolderClip"]

_DEFAULT_FPS = Fraction(24)  # a folder has no frame rate: DAVIS and film run at 24
_PAGED_SUFFIXES = (".tif", ".tiff", ".webp", ".png")  # of files that may hold several pictures
_DEEP_SUFFIXES = (".tif", ".tiff", ".png")


class FolderClip:
    """A folder of image files as a :class:`slimevid.io.Clip`.

    Parameters
    ----------
    path : Path
    leave_out : sequence of Path
        Files in the folder that are not frames.

    Raises
    ------
    InputError
        The folder holds no image, or two images with the same stem, whose masks would overwrite each other.
    """

    pixel_shape = Fraction(1)

    def __init__(self, path: Path, leave_out: Sequence[Path] = ()) -> None:
        self.name = path.resolve().name
        self.fps = _DEFAULT_FPS
        excluded = {file.resolve() for file in leave_out}
        self._files = [file for file in list_images(path) if file.resolve() not in excluded]
        if not self._files:
            raise InputError(f"{path}: no frame found{_folder_hint(path)}")
        stems = self.stems()
        if len(set(stems)) != len(stems):
            duplicate = next(s for s in stems if stems.count(s) > 1)
            raise InputError(f"{path}: several frames are called {duplicate!r}; masks would overwrite each other")
        deep = [file for file in self._files if file.suffix.lower() in _DEEP_SUFFIXES and _is_deep_file(file)]
        self._white = find_white(_read_deep(file) for file in deep) if deep else 255.0
        self._deep = set(deep)
        notes = [*missing_numbers(stems), *(white_note(self._white) if deep else ()), *_page_notes(self._files)]
        self.notes = tuple(f"{path}: {note}" for note in notes)
        first = self._read_rgb(self._files[0])
        self.size = (first.shape[0], first.shape[1])

    def __len__(self) -> int:
        return len(self._files)

    def stems(self) -> list[str]:
        """Return the file stems, in frame order."""
        return [file.stem for file in self._files]

    def read(self, start: int, stop: int, step: int = 1) -> Iterator[Frame]:
        """Yield frames in order.

        Parameters
        ----------
        start, stop, step : int
            Frame numbers, see :meth:`slimevid.io.Clip.read`.

        Yields
        ------
        Frame
        """
        return (self._frame(i) for i in range(start, stop, step))

    def read_reversed(self, start: int, stop: int, step: int = 1) -> Iterator[Frame]:
        """Yield frames from the last to the first.

        Parameters
        ----------
        start, stop, step : int
            Frame numbers, see :meth:`slimevid.io.Clip.read`.

        Yields
        ------
        Frame
        """
        return (self._frame(i) for i in reversed(range(start, stop, step)))

    def fingerprint(self) -> str:
        """Return a hash of names and contents. Of files above 64 KiB, 16 blocks of 4 KiB are read."""
        return fingerprint(self._files, block=4096, blocks=16)

    def _read_rgb(self, file: Path) -> npt.NDArray[np.uint8]:
        return scale_deep(_read_deep(file), self._white) if file in self._deep else read_rgb(file)

    def _frame(self, index: int) -> Frame:
        file = self._files[index]
        try:
            rgb = self._read_rgb(file)
        except InputError as error:
            raise InputError(f"frame {index}: {error}") from error
        if rgb.shape[:2] != self.size:
            raise InputError(
                f"frame {index} ({file}) is {rgb.shape[1]}x{rgb.shape[0]}, the clip is {self.size[1]}x{self.size[0]}; "
                "all frames must have one size"
            )
        return Frame(index, rgb, file.stem)


def _is_deep_file(file: Path) -> bool:
    """Return True for a picture of more than 8 bits. An unreadable one is reported when its frame is read."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file) as image:
                return is_deep(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return False


def _read_deep(file: Path) -> npt.NDArray[np.float64]:
    try:
        with Image.open(file) as image:
            return decode_deep(image, file.read_bytes())
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise InputError(f"cannot read {file} as an image: {error}; replace the file") from error


def _page_notes(files: Sequence[Path]) -> tuple[str, ...]:
    """Return a note on files that hold several pictures, of which only the first is read."""
    paged = [(file, count_pages(file)) for file in files if file.suffix.lower() in _PAGED_SUFFIXES]
    stacks = [(file.name, count) for file, count in paged if count > 1]
    if not stacks:
        return ()
    more = f" (and {len(stacks) - 1} files more)" if len(stacks) > 1 else ""
    name, count = stacks[0]
    return (f"{name}{more} holds {count} pictures, only its first is a frame; give the file itself as the clip",)
