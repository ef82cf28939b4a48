"""Results out: the overlay's stream (:mod:`slimecore.video`), and scores one frame at a time."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

from slimecore.errors import OutputError
from slimecore.video import VideoWriter as OverlayWriter

__all__ = ["OverlayWriter", "ScoreWriter"]


class ScoreWriter:
    """``scores.csv``: one row a frame and part, flushed a frame at a time.

    Parameters
    ----------
    path : Path
    """

    header = ("frame", "name", "part", "part_name", "present", "presence", "confidence", "area")

    def __init__(self, path: Path) -> None:
        try:
            self._file = path.open("w", newline="", encoding="utf-8")
        except OSError as error:
            raise OutputError(f"cannot write {path}: {error.strerror}") from error
        self._path = path
        self._rows = csv.writer(self._file)
        self._rows.writerow(self.header)

    def write(self, rows: list[tuple[Any, ...]]) -> None:
        """Append the rows of one frame."""
        try:
            self._rows.writerows(rows)
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror}; the masks so far are kept") from error

    def __enter__(self) -> ScoreWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
