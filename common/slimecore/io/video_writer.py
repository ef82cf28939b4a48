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


# Players take a video that does not say its colours for BT.709 where it is HD. The colours are therefore always said.
_SD_LINES, _HD_COLUMNS = 576, 1280
_HD_MATRIX, _SD_MATRIX, _LIMITED_RANGE = 1, 6, 1  # codes of H.273: BT.709, BT.601 (SMPTE 170M)
_SWS_MATRIX = {1: 1, 6: 5}  # the same in swscale's numbers
_MAX_SHAPE_DENOMINATOR = 10000


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
    pixel_shape : Fraction
        Width of a pixel divided by its height.

    Raises
    ------
    OutputError
        `path` cannot be written.
    """

    def __init__(
        self,
        path: Path,
        size: tuple[int, int],
        fps: Fraction,
        crf: int = 20,
        *,
        pixel_shape: Fraction = Fraction(1),
    ) -> None:
        self._path = path
        self._temporary = path.with_name(f".{path.stem}.{os.getpid()}.part{path.suffix}")
        self._pad = (size[0] % 2, size[1] % 2)
        try:
            # A relative name with a colon would be taken for a protocol.
            self._container = av.open(str(self._temporary.absolute()), "w", format="mp4")
            codec = "libx264" if "libx264" in av.codecs_available else "mpeg4"
            self._stream: Any = self._container.add_stream(codec, rate=fps.limit_denominator(60000))
        except (av.error.FFmpegError, OSError) as error:
            raise OutputError(f"cannot write {path}: {error}; choose another --out") from error
        self._stream.width, self._stream.height = size[1] + self._pad[1], size[0] + self._pad[0]
        self._stream.pix_fmt = "yuv420p"
        self._matrix = _HD_MATRIX if size[0] > _SD_LINES or size[1] >= _HD_COLUMNS else _SD_MATRIX
        context = self._stream.codec_context
        context.colorspace = context.color_primaries = context.color_trc = self._matrix
        context.color_range = _LIMITED_RANGE
        if pixel_shape != 1:
            context.sample_aspect_ratio = pixel_shape.limit_denominator(_MAX_SHAPE_DENOMINATOR)
        if codec == "libx264":
            self._stream.options = {"crf": str(crf), "preset": "veryfast"}

    def write(self, rgb: npt.NDArray[np.uint8]) -> None:
        """Append a (h, w, 3) uint8 RGB frame."""
        padded = np.pad(rgb, ((0, self._pad[0]), (0, self._pad[1]), (0, 0)), mode="edge") if any(self._pad) else rgb
        try:
            picture = av.VideoFrame.from_ndarray(np.ascontiguousarray(padded), format="rgb24")
            coded = picture.reformat(
                format="yuv420p", dst_colorspace=_SWS_MATRIX[self._matrix], dst_color_range=_LIMITED_RANGE
            )
            for packet in self._stream.encode(coded):
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
