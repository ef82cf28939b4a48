"""Read the pages of a picture file as a clip: a TIFF stack, an animated WebP or PNG, or a single picture."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from slimecore.array_types import Array
from slimecore.errors import InputError
from slimecore.io.images import flatten
from slimecore.types import Frame
from slimevid.io.deep_images import decode_deep, find_white, is_deep, scale_deep, white_note
from slimevid.io.fingerprint import fingerprint

__all__ = ["PagesClip", "count_pages"]

_DEFAULT_FPS = Fraction(24)  # as of a folder
_CHUNK_FRAMES = 24  # animations decode forward only
_SUBFILE_TYPE, _REDUCED = 254, 1  # TIFF's tag of a page that is a smaller copy of another
_ERRORS = (UnidentifiedImageError, Image.DecompressionBombError, EOFError, OSError, ValueError, SyntaxError)


def count_pages(path: Path) -> int:
    """Return how many pictures a file holds. A file that is no picture counts as one."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(path) as image:
                return len(_page_numbers(image))
    except _ERRORS:
        return 1


def _page_numbers(image: Image.Image) -> list[int]:
    """Return the numbers of an image's pages, without smaller copies and a camera's previews."""
    count = int(getattr(image, "n_frames", 1))
    if count == 1 or image.format == "MPO":
        return [0]
    pages = []
    for page in range(count):
        if image.format == "TIFF":  # other pages need decoding, and are no copies
            image.seek(page)
        if not getattr(image, "tag_v2", {}).get(_SUBFILE_TYPE, 0) & _REDUCED:
            pages.append(page)
    return pages or [0]


class PagesClip:
    """The pages of a picture file as a :class:`slimevid.io.Clip`.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        The file is not a readable picture.
    """

    pixel_shape = Fraction(1)

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._path = path
        try:
            self._content = path.read_bytes()
        except OSError as error:
            raise InputError(f"cannot read {path}: {error.strerror or error}") from error
        durations: list[float] = []
        highest: list[Array] = []
        self.is_deep = False
        with self._open() as image:
            self._kind = image.format or "picture"
            try:
                self._pages = _page_numbers(image)
            except _ERRORS as error:
                raise InputError(f"{path}: its pages cannot be read ({error}); replace the file") from error
            for page in self._pages:
                self._seek(image, page)
                deep = is_deep(image)
                self.is_deep = self.is_deep or deep
                rgb = self._pixels(image, page)
                if deep:
                    highest.append(rgb.max(keepdims=True))
                if page == self._pages[0]:
                    self.size = (rgb.shape[0], rgb.shape[1])
                durations.append(float(image.info.get("duration", 0) or 0) / 1000)
        self._white = find_white(highest) if highest else 255.0
        self.notes = tuple(f"{path}: {note}" for note in (white_note(self._white) if highest else ()))
        seconds = sum(durations)
        self.fps = Fraction(len(self._pages) / seconds).limit_denominator(1001) if seconds > 0 else _DEFAULT_FPS
        self.description = {"container": self._kind.lower(), "codec": self._kind.lower(), "streams": []}

    def _open(self) -> Image.Image:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                return Image.open(self._path)
        except _ERRORS as error:
            raise InputError(f"cannot read {self._path} as an image: {error}; replace the file") from error

    def _seek(self, image: Image.Image, page: int) -> None:
        try:
            image.seek(page)
        except _ERRORS as error:
            raise InputError(f"{self._path}: page {page} cannot be read ({error}); replace the file") from error

    def _pixels(self, image: Image.Image, page: int) -> Array:
        try:
            if is_deep(image):
                return decode_deep(image, self._content, page)
            return flatten(ImageOps.exif_transpose(image))
        except _ERRORS as error:
            raise InputError(f"{self._path}: page {page} cannot be read ({error}); replace the file") from error

    def __len__(self) -> int:
        return len(self._pages)

    def stems(self) -> list[str]:
        """Return ``00000``, ``00001``, ... in frame order."""
        return [f"{i:05d}" for i in range(len(self._pages))]

    def fingerprint(self) -> str:
        """Return a hash of name and content. Of files above 64 MiB, 256 blocks of 256 KiB are read."""
        return fingerprint([self._path], block=1 << 18, blocks=256)

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
        with self._open() as image:
            for index in range(start, stop, step):
                page = self._pages[index]
                self._seek(image, page)
                deep = is_deep(image)
                values = self._pixels(image, page)
                rgb = scale_deep(values, self._white) if deep else np.asarray(values, np.uint8)
                if rgb.shape[:2] != self.size:
                    raise InputError(
                        f"{self._path}: frame {index} is {rgb.shape[1]}x{rgb.shape[0]}, the clip is "
                        f"{self.size[1]}x{self.size[0]}; all frames must have one size"
                    )
                yield Frame(index, rgb, f"{index:05d}")

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
        frames = range(start, stop, step)
        for high in range(len(frames), 0, -_CHUNK_FRAMES):
            chunk = frames[max(0, high - _CHUNK_FRAMES) : high]
            yield from reversed(list(self.read(chunk[0], chunk[-1] + 1, step)))
