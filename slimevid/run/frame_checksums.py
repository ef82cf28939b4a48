"""A checksum of every frame that was segmented, so that a changed clip is noticed on resume."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError, OutputError
from slimecore.io.result_folder import open_in_place
from slimevid.io import Clip

__all__ = ["FrameLog", "check_frames"]

_CHECKSUM_BYTES = 4


class FrameLog:
    """File of CRC-32 checksums, 4 bytes little-endian for every frame of the clip, written in place.

    Parameters
    ----------
    path : Path
        Created if it is missing.

    Raises
    ------
    OutputError
        The file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self._file = open_in_place(path, keep=True, buffering=0)
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error

    def note(self, index: int, rgb: npt.NDArray[Any]) -> None:
        """Write the checksum of frame `index`, (h, w, 3) uint8.

        Raises
        ------
        OutputError
            The file cannot be written.
        """
        try:
            self._file.seek(index * _CHECKSUM_BYTES)
            self._file.write(_checksum(rgb).to_bytes(_CHECKSUM_BYTES, "little"))
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}; free space") from error

    def __enter__(self) -> FrameLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def check_frames(path: Path, clip: Clip, frames: Iterable[int]) -> None:
    """Decode frames again and compare them with the checksums of the earlier run.

    Parameters
    ----------
    path : Path
        File of a :class:`FrameLog`. A missing file counts as empty.
    clip : Clip
    frames : iterable of int
        Frames that count as done.

    Raises
    ------
    InputError
        A frame has changed. The message names the first.
    """
    chosen = set(frames)
    if not chosen:
        return
    checksums = np.fromfile(path, "<u4") if path.is_file() else np.zeros(0, "<u4")
    for frame in clip.read(min(chosen), max(chosen) + 1):
        if frame.index in chosen and (frame.index >= len(checksums) or checksums[frame.index] != _checksum(frame.rgb)):
            raise InputError(
                f"{clip.name}: frame {frame.index} ({frame.name}) has changed since it was segmented; "
                "bring the clip back, or run without --resume to start over"
            )


def _checksum(rgb: npt.NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(rgb).data)
