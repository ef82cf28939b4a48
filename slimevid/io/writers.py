"""Results out, one frame at a time; the overlay's stream is :mod:`slimecore.io.video_writer`."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.errors import OutputError
from slimecore.io.atomic_files import atomic_path
from slimecore.io.video_writer import VideoWriter as OverlayWriter

__all__ = ["OverlayWriter", "ScoreWriter", "sort_scores", "write_soft"]


class ScoreWriter:
    """``scores.csv``: one row a frame and part, flushed a frame at a time.

    Parameters
    ----------
    path : Path
    keep : int
        Bytes of an earlier run to keep, 0 starts anew.
    """

    header = ("frame", "name", "part", "part_name", "present", "presence", "confidence", "area")

    def __init__(self, path: Path, keep: int = 0) -> None:
        try:
            keep = min(keep, path.stat().st_size) if keep and path.exists() else 0
            self._file = path.open("r+" if keep else "w", newline="", encoding="utf-8")
            self._file.truncate(keep)
            self._file.seek(keep)
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        self._path = path
        self._rows = csv.writer(self._file)
        if not keep:
            self.write([self.header])

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return self._path.stat().st_size

    def write(self, rows: list[tuple[Any, ...]]) -> None:
        """Append the rows of one frame."""
        try:
            self._rows.writerows([_one_line(cell) for cell in row] for row in rows)
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}; the masks so far are kept") from error

    def __enter__(self) -> ScoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


def _one_line(cell: Any) -> Any:
    """Names may hold line breaks; a row is a line."""
    return " ".join(cell.splitlines()) if isinstance(cell, str) else cell


def sort_scores(path: Path) -> None:
    """Bring ``scores.csv`` into the clip's order; of a frame labelled several times, the last rows stay.

    Passes go backward too, and a correction replaces frames. Where a frame's rows lie is remembered, not the rows.
    """
    found: dict[int, tuple[int, int]] = {}
    last, seen = -1, set[str]()  # frame of the row before, and parts among its latest rows
    with path.open("rb") as source:
        header = source.readline()
        while line := source.readline():
            number, _, value, *_ = next(csv.reader([line.decode()]))
            frame, end = int(number), source.tell()
            if frame != last or value in seen:
                found[frame], seen = (end - len(line), end), set()
            found[frame] = found[frame][0], end
            last = frame
            seen.add(value)
        with atomic_path(path) as part, part.open("wb") as target:
            target.write(header)
            for frame in sorted(found):
                start, end = found[frame]
                source.seek(start)
                target.write(source.read(end - start))


def write_soft(path: Path, soft: npt.NDArray[Any]) -> None:
    """Write soft labels (P, h, w), 0..1, as a float16 ``.npy``, atomically."""
    with atomic_path(path) as part, part.open("wb") as file:
        np.save(file, soft.astype(np.float16))
