"""Write results frame by frame. The overlay video is written by :mod:`slimecore.io.video_writer`."""

from __future__ import annotations

import csv
import io
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.errors import OutputError
from slimecore.io.atomic_files import atomic_path
from slimecore.io.result_folder import open_in_place
from slimecore.io.video_writer import VideoWriter as OverlayWriter
from slimevid.io import Clip

__all__ = ["OverlayWriter", "ScoreWriter", "file_checksum", "open_overlay", "sort_scores", "write_soft"]


def open_overlay(path: Path, clip: Clip, stride: int) -> OverlayWriter:
    """Open the overlay video of a clip: its size, its pixel shape, its duration.

    Parameters
    ----------
    path : Path
    clip : Clip
    stride : int
        Every how manieth frame is drawn. The frame rate is divided by it.
    """
    return OverlayWriter(path, clip.size, clip.fps / stride, pixel_shape=clip.pixel_shape)


class ScoreWriter:
    """Writer of ``scores.csv``: a row per frame and part, flushed after every frame.

    Parameters
    ----------
    path : Path
    keep : int
        Bytes of an earlier run to keep. 0 starts a new file.

    Attributes
    ----------
    checksum : int
        CRC-32 of the file's content.

    Raises
    ------
    OutputError
        The file cannot be written.
    """

    header = ("frame", "name", "part", "part_name", "present", "presence", "confidence", "area")

    def __init__(self, path: Path, keep: int = 0) -> None:
        self.checksum = file_checksum(path, keep) or 0
        try:
            keep = min(keep, path.stat().st_size) if keep and path.exists() else 0
            self._file = open_in_place(path, keep=bool(keep), newline="", encoding="utf-8")
            self._file.truncate(keep)
            self._file.seek(keep)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        self._path = path
        if not keep:
            self.write([self.header])

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        return self._path.stat().st_size

    def write(self, rows: list[tuple[Any, ...]]) -> None:
        """Append the rows of a frame, with the columns of `header`.

        Raises
        ------
        OutputError
            The disk is full or the file cannot be written.
        """
        try:
            text = io.StringIO(newline="")
            csv.writer(text).writerows([_without_line_breaks(cell) for cell in row] for row in rows)
            self._file.write(text.getvalue())
            self._file.flush()
            self.checksum = zlib.crc32(text.getvalue().encode(), self.checksum)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}; the masks so far are kept") from error

    def __enter__(self) -> ScoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def file_checksum(path: Path, size: int) -> int | None:
    """Return the CRC-32 of the first `size` bytes of a file, or None if the file is missing or shorter."""
    try:
        with path.open("rb") as file:
            content = file.read(size)
    except OSError:
        return None
    return zlib.crc32(content) if len(content) == size else None


def _without_line_breaks(cell: Any) -> Any:
    """Replace line breaks by spaces: part names may hold them, and a row must be a single line."""
    return " ".join(cell.splitlines()) if isinstance(cell, str) else cell


def sort_scores(path: Path) -> None:
    """Sort ``scores.csv`` by frame and keep the last rows of every frame.

    Backward passes append rows in reverse, and corrections append rows of frames that have rows already. Only the byte
    ranges of the rows are held in memory.
    """
    byte_ranges: dict[int, tuple[int, int]] = {}
    previous_frame, parts_seen = -1, set[str]()  # frame of the row before, parts among its latest rows
    with path.open("rb") as source:
        header = source.readline()
        while line := source.readline():
            number, _, value, *_ = next(csv.reader([line.decode()]))
            frame, end = int(number), source.tell()
            if frame != previous_frame or value in parts_seen:
                byte_ranges[frame], parts_seen = (end - len(line), end), set()
            byte_ranges[frame] = byte_ranges[frame][0], end
            previous_frame = frame
            parts_seen.add(value)
        with atomic_path(path) as temporary, temporary.open("wb") as target:
            target.write(header)
            for frame in sorted(byte_ranges):
                start, end = byte_ranges[frame]
                source.seek(start)
                target.write(source.read(end - start))


def write_soft(path: Path, soft: npt.NDArray[Any]) -> None:
    """Write soft labels (P, h, w), probabilities 0..1, atomically as a float16 ``.npy`` file."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        np.save(file, soft.astype(np.float16))
