"""Read a video file through PyAV, frame-exact in both directions, with at most a short chunk in memory.

Packets are listed once without decoding. That gives the exact number of frames and the time stamp of every frame, and
hence exact seeking. Demuxers may seek by decoding time, or to a packet that is not a key frame. Therefore a seek is
accepted only if it lands on a key frame at or before the requested frame. Otherwise an earlier key frame is tried. If
decord is installed, it reads the backward direction faster. "Key frame" here is the codec's term.
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

_MAX_CHUNK_FRAMES = 24
_MAX_CHUNK_BYTES = 1 << 27
_DECORD_CODECS = {"h264", "vp8", "vp9"}  # decord seeks to wrong frames in mpeg4, HEVC and transport streams
_EXACT_TIMESTAMP_FORMATS = {"mov", "matroska", "mpegts"}  # AVI and program streams guess the time of reordered frames


class VideoClip:
    """The first video stream of a file as a :class:`slimevid.io.Clip`.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        The file is not a readable video, or has no frames.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.stem
        self._path = path
        with self._open() as container:
            stream = self._stream(container)
            self.fps = Fraction(stream.average_rate or stream.guessed_rate or 24)
            try:
                coded_packets = [(p.pts, p.is_keyframe, p.is_discard) for p in container.demux(stream) if p.size]
            except av.error.FFmpegError as error:
                raise InputError(f"{path}: the file is damaged or cut off ({error})") from error
            exact_formats = _EXACT_TIMESTAMP_FORMATS.intersection(container.format.name.split(","))
            codec = stream.codec_context.name
            notes = is_truncated(
                (len(coded_packets), _packet_duration(coded_packets, stream, self.fps)),
                (stream.frames, _announced_duration(container, stream)),
            )
        packets = [(stamp, key) for stamp, key, discarded in coded_packets if not discarded]
        if not packets:
            raise InputError(f"{path}: the video has no frames")
        self.notes = tuple(f"{path}: {note}" for note in notes)
        self._stamps = sorted(stamp for stamp, _ in packets if stamp is not None)
        self._seekable = bool(exact_formats) and len(self._stamps) == len(packets) == len(set(self._stamps))
        self._keys = sorted(stamp for stamp, key in packets if key and stamp is not None)
        self._decord = self._seekable and "mpegts" not in exact_formats and codec in _DECORD_CODECS
        self._count = len(packets)
        self.size = self._read_first_size()

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

    def _read_first_size(self) -> tuple[int, int]:
        with self._open() as container:
            try:
                image = next(container.decode(self._stream(container)), None)
            except av.error.FFmpegError as error:
                raise InputError(f"{self._path}: frame 0 cannot be decoded ({_reason(error)})") from error
        if image is None:
            raise InputError(f"{self._path}: no frame could be decoded")
        if self._seekable and image.pts in self._stamps:  # a lossless cut may leave frames before the first key frame
            self._stamps = self._stamps[self._stamps.index(image.pts) :]
            self._count = len(self._stamps)
        return self._frame(0, image).size

    def __len__(self) -> int:
        return self._count

    def stems(self) -> list[str]:
        """Return ``00000``, ``00001``, ... in frame order."""
        return [f"{i:05d}" for i in range(self._count)]

    def fingerprint(self) -> str:
        """Return a hash of name and content. Of files above 64 MiB, 256 blocks of 256 KiB are read."""
        return fingerprint([self._path], block=1 << 18, blocks=256)

    def read(self, start: int, stop: int, step: int = 1) -> Iterator[Frame]:
        """Yield frames in order. Decoding starts at a key frame at or before `start`.

        Parameters
        ----------
        start, stop, step : int
            Frame numbers, see :meth:`slimevid.io.Clip.read`.

        Yields
        ------
        Frame
        """
        if start >= stop:
            return
        for origin in self._seek_targets(start):
            frames = self._decode(origin, range(start, stop, step))
            first = next(frames, None)
            if first is not None:
                yield first
                yield from frames
                return

    def _seek_targets(self, start: int) -> Iterator[int | None]:
        """Yield time stamps of key frames at or before `start`, each farther back, then None (the start)."""
        if start and self._seekable:
            position, back = bisect_right(self._keys, self._stamps[start]) - 1, 1
            while position > 0:
                yield self._keys[position]
                position, back = position - back, 2 * back
        yield None

    def _decode(self, origin: int | None, wanted: range) -> Iterator[Frame]:
        """Yield the frames in `wanted`, or none if decoding from `origin` does not reach the first."""
        start, stop = wanted.start, wanted[-1] + 1  # the stop of a range may lie beyond its last number
        expected, failure = start, ""
        with self._open() as container:
            stream = self._stream(container)
            try:
                if origin is not None:
                    container.seek(origin, stream=stream)
                for index, image in self._numbered_images(container, stream, origin, start):
                    if index >= stop:
                        break
                    if index > expected:
                        failure = f"frame {expected} cannot be decoded (the decoder drops it)"
                        break
                    if index == expected:
                        if image.is_corrupt:
                            failure = f"frame {expected} cannot be decoded (its data is damaged)"
                            break
                        if index in wanted:
                            yield self._frame(index, image)
                        expected += 1
            except av.error.FFmpegError as error:
                failure = f"frame {expected} cannot be decoded ({_reason(error)})"
        if expected < stop and (origin is None or expected > start):
            ends = f"the video ends at frame {expected}, {self._count} were announced; the file is damaged or cut off"
            raise InputError(f"{self._path}: {failure or ends}")

    def _numbered_images(
        self, container: Any, stream: Any, origin: int | None, start: int
    ) -> Iterator[tuple[int, Any]]:
        """Yield decoded images with their frame numbers, or none if the seek to `origin` missed a usable key frame."""
        if origin is None:
            # Time stamps give the numbers if they are known: a frame dropped by the decoder must not shift the others.
            order = {stamp: i for i, stamp in enumerate(self._stamps)} if self._seekable else {}
            for count, image in enumerate(container.decode(stream)):
                yield order.get(image.pts, count) if order else count, image
            return
        packets = container.demux(stream)
        first = next(packets)
        if not first.is_keyframe or first.pts is None or first.pts > self._stamps[start]:
            return
        order = {stamp: i for i, stamp in enumerate(self._stamps)}
        for packet in chain([first], packets):
            yield from ((order[p.pts], p) for p in packet.decode() if p.pts in order)

    def read_reversed(self, start: int, stop: int, step: int = 1) -> Iterator[Frame]:
        """Yield frames from the last to the first, decoded forward in chunks of up to 24 frames or 128 MiB.

        Parameters
        ----------
        start, stop, step : int
            Frame numbers, see :meth:`slimevid.io.Clip.read`.

        Yields
        ------
        Frame
        """
        frames = range(start, stop, step)
        size = max(2, min(_MAX_CHUNK_FRAMES, _MAX_CHUNK_BYTES // (3 * self.size[0] * self.size[1])))
        chunks = [frames[max(0, high - size) : high] for high in range(len(frames), 0, -size)]
        if self._decord and importlib.util.find_spec("decord"):
            from slimevid.io import decord

            if decord.agrees(self._path, self._count, self.size):
                for chunk in chunks:
                    yield from reversed(decord.read_chunk(self._path, chunk))
                return
        for chunk in chunks:
            yield from reversed(list(self.read(chunk[0], chunk[-1] + 1, step)))

    def _frame(self, index: int, image: Any) -> Frame:
        """Convert a decoded image to a frame, upright, and check its size."""
        rgb = image.to_ndarray(format="rgb24")
        quarter_turns = round((getattr(image, "rotation", 0) or 0) / 90) % 4
        rgb = np.ascontiguousarray(np.rot90(rgb, quarter_turns)) if quarter_turns else rgb
        size = getattr(self, "size", rgb.shape[:2])
        if rgb.shape[:2] != tuple(size):
            raise InputError(
                f"{self._path}: frame {index} is {rgb.shape[1]}x{rgb.shape[0]}, the clip is {size[1]}x{size[0]}; "
                "the picture size changes mid-stream, cut the clip there"
            )
        return Frame(index, rgb, f"{index:05d}")


def _packet_duration(coded_packets: list[tuple[int | None, bool, bool]], stream: Any, fps: Fraction) -> Fraction | None:
    """Return the seconds from the first frame to the end of the last, or None without time stamps."""
    stamps = [stamp for stamp, *_ in coded_packets if stamp is not None]
    return Fraction((max(stamps) - min(stamps)) * stream.time_base) + 1 / fps if stamps else None


def _announced_duration(container: Any, stream: Any) -> Fraction | None:
    """Return the video's duration in seconds as its header announces it, or None.

    The duration of the file is used only if the file has a single stream: otherwise it may be that of the sound.
    """
    if stream.duration is not None:
        return Fraction(stream.duration * stream.time_base)
    single_stream = len(container.streams) == 1 and container.duration is not None
    return Fraction(container.duration, av.time_base) if single_stream else None


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or error)
