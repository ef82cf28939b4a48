"""``.frames.bin``: a checksum of every picture that was segmented, so that another clip is not taken for this one."""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import numpy.typing as npt

from slimecore.errors import InputError, OutputError
from slimevid.io import Clip

__all__ = ["FrameLog", "check_frames"]

_NAME = ".frames.bin"
_WIDTH = 4


class FrameLog:
    """Four bytes a frame of the clip, in place.

    Parameters
    ----------
    out : Path
        Result folder.
    """

    def __init__(self, out: Path) -> None:
        self._path = out / _NAME
        try:
            self._file = open(self._path, "r+b" if self._path.exists() else "w+b", buffering=0)  # noqa: SIM115
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}") from error

    def note(self, index: int, rgb: npt.NDArray[Any]) -> None:
        """Write down a frame that was segmented.

        Raises
        ------
        OutputError
            The place cannot be written.
        """
        try:
            self._file.seek(index * _WIDTH)
            self._file.write(_checksum(rgb).to_bytes(_WIDTH, "little"))
        except OSError as error:
            raise OutputError(f"cannot write {self._path}: {error.strerror or error}; free space") from error

    def __enter__(self) -> FrameLog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()


def check_frames(out: Path, clip: Clip, frames: Iterable[int]) -> None:
    """Compare the pictures of frames that were segmented with those of now, decoding each.

    Parameters
    ----------
    out : Path
        Result folder.
    clip : Clip
    frames : iterable of int
        Frames that count as done.

    Raises
    ------
    InputError
        One has changed; the message names the first.
    """
    chosen = set(frames)
    if not chosen:
        return
    path = out / _NAME
    known = np.fromfile(path, "<u4") if path.is_file() else np.zeros(0, "<u4")
    for frame in clip.read(min(chosen), max(chosen) + 1):
        if frame.index in chosen and (frame.index >= len(known) or known[frame.index] != _checksum(frame.rgb)):
            raise InputError(
                f"{clip.name}: frame {frame.index} ({frame.name}) has changed since it was segmented; "
                "bring the clip back, or run without --resume to start over"
            )


def _checksum(rgb: npt.NDArray[Any]) -> int:
    return zlib.crc32(np.ascontiguousarray(rgb).data)
