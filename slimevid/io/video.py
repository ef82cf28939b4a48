"""A video file through PyAV, frame-exact in both directions, without holding more than a short chunk.

Packets are listed once without decoding: that gives the exact frame count and the time stamp of every frame, hence
exact seeking and an honest progress bar. Where decord is installed it serves the backward direction, faster.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from slimecore.errors import InputError
from slimecore.types import Frame

__all__ = ["VideoClip"]

_CHUNK = 24


class VideoClip:
    """Frames of the first video stream of a file.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        Not a video, or without frames.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._path = path
        with self._open() as container:
            stream = self._stream(container)
            self.fps = Fraction(stream.average_rate or stream.guessed_rate or 24)
            try:
                stamps = [p.pts for p in container.demux(stream) if p.size and not p.is_discard]
            except av.error.FFmpegError as error:
                raise InputError(f"{path}: the file is damaged or cut off ({error})") from error
        if not stamps:
            raise InputError(f"{path}: the video has no frames")
        self._stamps = sorted(s for s in stamps if s is not None)
        self._seekable = len(self._stamps) == len(stamps) == len(set(self._stamps))
        self._count = len(stamps)
        self.size = self._first_size()

    def _open(self) -> Any:
        try:
            return av.open(str(self._path))
        except (av.error.FFmpegError, OSError, ValueError) as error:
            raise InputError(
                f"{self._path}: not a readable video ({_reason(error)}); "
                "give an mp4, mov, mkv ... or a folder of frames"
            ) from error

    def _stream(self, container: Any) -> Any:
        if not container.streams.video:
            raise InputError(f"{self._path}: the file has no video stream")
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        return stream

    def _first_size(self) -> tuple[int, int]:
        first = next(self.read(0, 1), None)
        if first is None:
            raise InputError(f"{self._path}: no frame could be decoded")
        return first.rgb.shape[0], first.rgb.shape[1]

    def __len__(self) -> int:
        return self._count

    def stems(self) -> list[str]:
        """``00000`` and so on."""
        return [f"{i:05d}" for i in range(self._count)]

    def read(self, start: int, stop: int) -> Iterator[Frame]:
        """Frames in order; decoding starts at the key frame before `start`."""
        expected = start
        with self._open() as container:
            stream = self._stream(container)
            if start and self._seekable:
                container.seek(self._stamps[start], stream=stream)
            try:
                for index, picture in self._numbered(container.decode(stream), start):
                    if index >= stop:
                        return
                    if index >= start:
                        expected = index + 1
                        yield self._frame(index, picture)
            except av.error.FFmpegError as error:
                raise InputError(f"{self._path}: frame {expected} cannot be decoded ({_reason(error)})") from error
        if expected < stop:
            raise InputError(
                f"{self._path}: the video ends at frame {expected}, {self._count} were announced; the file is cut off"
            )

    def _numbered(self, pictures: Iterator[Any], start: int) -> Iterator[tuple[int, Any]]:
        if not (start and self._seekable):
            yield from enumerate(pictures)
            return
        order = {stamp: i for i, stamp in enumerate(self._stamps)}
        for picture in pictures:
            if picture.pts in order:
                yield order[picture.pts], picture

    def read_reversed(self, start: int, stop: int) -> Iterator[Frame]:
        """Frames from the last to the first, decoded forward in chunks of 24."""
        if importlib.util.find_spec("decord"):
            from slimevid.io.decord import read_chunk

            def chunk(low: int, high: int) -> list[Frame]:
                return read_chunk(self._path, low, high, self.fps)
        else:

            def chunk(low: int, high: int) -> list[Frame]:
                return list(self.read(low, high))

        for high in range(stop, start, -_CHUNK):
            yield from reversed(chunk(max(start, high - _CHUNK), high))

    def _frame(self, index: int, picture: Any) -> Frame:
        rgb = picture.to_ndarray(format="rgb24")
        turns = round((getattr(picture, "rotation", 0) or 0) / 90) % 4
        rgb = np.ascontiguousarray(np.rot90(rgb, turns)) if turns else rgb
        size = getattr(self, "size", rgb.shape[:2])
        if rgb.shape[:2] != tuple(size):
            raise InputError(
                f"{self._path}: frame {index} is {rgb.shape[1]}x{rgb.shape[0]}, the clip is {size[1]}x{size[0]}; "
                "the picture size changes mid-stream, cut the clip there"
            )
        return Frame(index, rgb, f"{index:05d}", float(index / self.fps))


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
