"""Write a video file that appears under its name only when it is complete."""

from __future__ import annotations

import os
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import Any

import av
import numpy as np
import numpy.typing as npt

from slimecore.errors import OutputError

__all__ = ["VideoWriter"]


class VideoWriter:
    """H.264 video writer and context manager (MPEG-4 where FFmpeg lacks libx264).

    The file appears under its name only when the block ends without an error.

    Parameters
    ----------
    path : Path
    size : (int, int)
        ``(h, w)`` in pixels. An odd side gets a repeated last row or column, because yuv420p needs even sides.
    fps : Fraction
        Frames a second.
    crf : int
        H.264 quality, 0 (lossless) to 51 (worst).

    Raises
    ------
    OutputError
        `path` cannot be written.
    """

    def __init__(self, path: Path, size: tuple[int, int], fps: Fraction, crf: int = 20) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        self._pad = (size[0] % 2, size[1] % 2)
        try:
            self._container = av.open(str(self._temporary), "w", format="mp4")
            codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            self._stream: Any = self._container.add_stream(codec, rate=fps.limit_denominator(60000))
        except (av.error.FFmpegError, OSError) as error:
            raise OutputError(f"cannot write {path}: {error}; choose another --out") from error
        self._stream.width, self._stream.height = size[1] + self._pad[1], size[0] + self._pad[0]
        self._stream.pix_fmt = "yuv420p"
        if codec == "libx264":
            self._stream.options = {"crf": str(crf), "preset": "veryfast"}

    def write(self, rgb: npt.NDArray[np.uint8]) -> None:
        """Append a (h, w, 3) uint8 RGB frame."""
        padded = np.pad(rgb, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), mode="edge") if any(self._pad) else rgb
        try:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
            for packet in self._stream.encode(picture):
                self._container.mux(packet)
        except (av.error.FFmpegError, OSError) as error:
            raise OutputError(f"cannot write {self._path}: {error}; what was written before is kept") from error

    def __enter__(self) -> VideoWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                for packet in self._stream.encode():
                    self._container.mux(packet)
            self._container.close()
            if kind is None:
                os.replace(self._temporary, self._path)
        except (av.error.FFmpegError, OSError) as failure:
            if kind is None:
                raise OutputError(f"cannot write {self._path}: {failure}; what was written before is kept") from failure
        finally:
            self._temporary.unlink(missing_ok=True)
