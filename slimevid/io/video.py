"""A video file through PyAV, frame-exact in both directions, without holding more than a short chunk.

Packets are listed once without decoding: that gives the exact frame count and the time stamp of every frame, hence
exact seeking and an honest progress bar. Demuxers seek by decoding time, or to no key frame at all; so a seek counts
only if the packet it lands on is a key frame shown before the wanted one, else an earlier key frame is tried. Where
decord is installed it serves the backward direction, faster.
"""

from __future__ import annotations

import importlib.util
from bisect import bisect_right
from collections.abc import Iterator
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import av
import numpy as np

from slimecore.errors import InputError
from slimecore.types import Frame
from slimevid.io.completeness import is_truncated
from slimevid.io.fingerprint import fingerprint

__all__ = ["VideoClip"]

_CHUNK = 24
_CHUNK_BYTES = 1 << 27
_DECORD_CODECS = {"h264", "vp8", "vp9"}  # decord seeks to wrong frames in mpeg4, HEVC and transport streams
_EXACT_CLOCKS = {"mov", "matroska", "mpegts"}  # AVI and program streams guess the time of reordered frames


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
                coded = [(p.pts, p.is_keyframe, p.is_discard) for p in container.demux(stream) if p.size]
            except av.error.FFmpegError as error:
                raise InputError(f"{path}: the file is damaged or cut off ({error})") from error
            clocks = _EXACT_CLOCKS.intersection(container.format.name.split(","))
            codec = stream.codec_context.name
            notes = is_truncated(
                (len(coded), _span(coded, stream, self.fps)), (stream.frames, _length(container, stream))
            )
        packets = [(stamp, key) for stamp, key, hidden in coded if not hidden]
        if not packets:
            raise InputError(f"{path}: the video has no frames")
        self.notes = tuple(f"{path}: {note}" for note in notes)
        self._stamps = sorted(stamp for stamp, _ in packets if stamp is not None)
        self._seekable = bool(clocks) and len(self._stamps) == len(packets) == len(set(self._stamps))
        self._keys = sorted(stamp for stamp, key in packets if key and stamp is not None)
        self._decord = self._seekable and "mpegts" not in clocks and codec in _DECORD_CODECS
        self._count = len(packets)
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
        if stream.codec_context is None:
            raise InputError(f"{self._path}: no decoder for this video (an unknown codec, or its head is damaged)")
        stream.thread_type = "AUTO"
        return stream

    def _first_size(self) -> tuple[int, int]:
        with self._open() as container:
            try:
                picture = next(container.decode(self._stream(container)), None)
            except av.error.FFmpegError as error:
                raise InputError(f"{self._path}: frame 0 cannot be decoded ({_reason(error)})") from error
        if picture is None:
            raise InputError(f"{self._path}: no frame could be decoded")
        if self._seekable and picture.pts in self._stamps:  # a cut may leave frames before the first key frame
            self._stamps = self._stamps[self._stamps.index(picture.pts) :]
            self._count = len(self._stamps)
        return self._frame(0, picture).size

    def __len__(self) -> int:
        return self._count

    def stems(self) -> list[str]:
        """``00000`` and so on."""
        return [f"{i:05d}" for i in range(self._count)]

    def fingerprint(self) -> str:
        """Hash of name and content; of a file beyond 64 MB, 256 blocks of it."""
        return fingerprint([self._path], block=1 << 18, blocks=256)

    def read(self, start: int, stop: int, step: int = 1) -> Iterator[Frame]:
        """Frames in order; decoding starts at the key frame before `start`."""
        if start >= stop:
            return
        for origin in self._origins(start):
            frames = self._decode(origin, range(start, stop, step))
            first = next(frames, None)
            if first is not None:
                yield first
                yield from frames
                return

    def _origins(self, start: int) -> Iterator[int | None]:
        """Key frames at or before `start`, ever farther back, then None: the beginning."""
        if start and self._seekable:
            position, back = bisect_right(self._keys, self._stamps[start]) - 1, 1
            while position > 0:
                yield self._keys[position]
                position, back = position - back, 2 * back
        yield None

    def _decode(self, origin: int | None, wanted: range) -> Iterator[Frame]:
        """The wanted frames; none at all where decoding from `origin` does not reach the first."""
        start, stop = wanted.start, wanted[-1] + 1  # a range may end beyond its last number
        expected, failure = start, ""
        with self._open() as container:
            stream = self._stream(container)
            try:
                if origin is not None:
                    container.seek(origin, stream=stream)
                for index, picture in self._numbered(container, stream, origin, start):
                    if index >= stop:
                        break
                    if index > expected:
                        failure = f"frame {expected} cannot be decoded (the decoder drops it)"
                        break
                    if index == expected:
                        if picture.is_corrupt:
                            failure = f"frame {expected} cannot be decoded (its data is damaged)"
                            break
                        if index in wanted:
                            yield self._frame(index, picture)
                        expected += 1
            except av.error.FFmpegError as error:
                failure = f"frame {expected} cannot be decoded ({_reason(error)})"
        if expected < stop and (origin is None or expected > start):
            ends = f"the video ends at frame {expected}, {self._count} were announced; the file is damaged or cut off"
            raise InputError(f"{self._path}: {failure or ends}")

    def _numbered(self, container: Any, stream: Any, origin: int | None, start: int) -> Iterator[tuple[int, Any]]:
        if origin is None:
            # Numbered by time stamps where they are known: a frame that the decoder drops must not shift the others.
            order = {stamp: i for i, stamp in enumerate(self._stamps)} if self._seekable else {}
            for count, picture in enumerate(container.decode(stream)):
                yield order.get(picture.pts, count) if order else count, picture
            return
        packets = container.demux(stream)
        first = next(packets)
        if not first.is_keyframe or first.pts is None or first.pts > self._stamps[start]:
            return
        order = {stamp: i for i, stamp in enumerate(self._stamps)}
        for packet in chain([first], packets):
            yield from ((order[p.pts], p) for p in packet.decode() if p.pts in order)

    def read_reversed(self, start: int, stop: int, step: int = 1) -> Iterator[Frame]:
        """Frames from the last to the first, decoded forward in chunks of up to 24, or 128 MB."""
        frames = range(start, stop, step)
        size = max(2, min(_CHUNK, _CHUNK_BYTES // (3 * self.size[0] * self.size[1])))
        chunks = [frames[max(0, high - size) : high] for high in range(len(frames), 0, -size)]
        if self._decord and importlib.util.find_spec("decord"):
            from slimevid.io import decord

            if decord.agrees(self._path, self._count, self.size):
                for chunk in chunks:
                    yield from reversed(decord.read_chunk(self._path, chunk))
                return
        for chunk in chunks:
            yield from reversed(list(self.read(chunk[0], chunk[-1] + 1, step)))

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
        return Frame(index, rgb, f"{index:05d}")


def _span(coded: list[tuple[int | None, bool, bool]], stream: Any, fps: Fraction) -> Fraction | None:
    """Seconds from the first frame to the end of the last."""
    stamps = [stamp for stamp, *_ in coded if stamp is not None]
    return Fraction((max(stamps) - min(stamps)) * stream.time_base) + 1 / fps if stamps else None


def _length(container: Any, stream: Any) -> Fraction | None:
    """Seconds that are announced for the video; what is announced for a file may be those of its sound."""
    if stream.duration is not None:
        return Fraction(stream.duration * stream.time_base)
    alone = len(container.streams) == 1 and container.duration is not None
    return Fraction(container.duration, av.time_base) if alone else None


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
