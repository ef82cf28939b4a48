"""Read a video file through PyAV, frame-exact in both directions, with at most a short chunk in memory.

The film is decoded once to list its pictures (:mod:`slimevid.io.picture_index`). That gives the exact number of frames
and the time stamp of every frame, and hence exact seeking. Demuxers may seek by decoding time, or to a packet that is
not a key frame. Therefore a seek is accepted only if it lands on a key frame at or before the requested frame.
Otherwise an earlier key frame is tried. If decord is installed, it reads the backward direction faster. "Key frame"
here is the codec's term.
"""

from __future__ import annotations

import importlib.util
from bisect import bisect_right
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import av

from slimecore.errors import InputError
from slimecore.types import Frame
from slimevid.io.display import read_orientation, show, to_rgb
from slimevid.io.fingerprint import fingerprint
from slimevid.io.picture_index import decode_packets, film_stream, open_container, read_index, reason

__all__ = ["VideoClip"]

_MAX_CHUNK_FRAMES = 24
_MAX_CHUNK_BYTES = 1 << 27
_DECORD_CODECS = {"h264", "vp8", "vp9"}  # decord seeks to wrong frames in mpeg4, HEVC and transport streams
# decord turns pictures by quarters and never mirrors them: swapped sides, mirrored columns, mirrored rows
_DECORD_ORIENTATIONS = {(False, False, False), (True, True, False), (False, True, True), (True, False, True)}


class VideoClip:
    """The best video stream of a file as a :class:`slimevid.io.Clip`.

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
        index = read_index(path)
        self.index = index
        self.fps, self.notes = index.fps, index.notes
        swapped = index.orientation[0]
        self.size = index.size[::-1] if swapped else index.size
        self.pixel_shape = 1 / index.pixel_shape if swapped else index.pixel_shape
        self._stamps, self._count = index.stamps, index.count
        self._seekable = bool(index.stamps)
        self._decord = (
            self._seekable
            and index.has_packet_each
            and index.orientation in _DECORD_ORIENTATIONS
            and index.description["codec"] in _DECORD_CODECS
            and "mpegts" not in index.description["container"]
            and len([entry for entry in index.description["streams"] if entry["kind"] == "video"]) == 1
        )

    def _stream(self, container: Any) -> Any:
        return film_stream(container, self.index.stream, threads=self.index.is_sound)

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
            keys = self.index.keys
            position, back = bisect_right(keys, self._stamps[start]) - 1, 1
            while position > 0:
                yield keys[position]
                position, back = position - back, 2 * back
        yield None

    def _decode(self, origin: int | None, wanted: range) -> Iterator[Frame]:
        """Yield the frames in `wanted`, or none if decoding from `origin` does not reach the first."""
        start, stop = wanted.start, wanted[-1] + 1  # the stop of a range may lie beyond its last number
        expected, failure = start, ""
        with open_container(self._path) as container:
            stream = self._stream(container)
            try:
                if origin is not None:
                    container.seek(origin, stream=stream)
                for index, image in self._numbered_images(container, stream, origin, start):
                    if index < expected:
                        continue
                    failure = self._failure(expected, index, image) if index < stop else ""
                    if failure or index >= stop:
                        break
                    if index in wanted:
                        yield self._frame(index, image)
                    expected += 1
            except av.error.FFmpegError as error:
                failure = reason(error)
        if expected < stop and (origin is None or expected > start):
            failure = failure or self.index.damaged.get(expected, "")
            what = f"frame {expected} cannot be decoded ({failure})"
            ends = f"the video ends at frame {expected}, {self._count} were announced"
            raise InputError(f"{self._path}: {what if failure else ends}; the file is damaged or cut off")

    def _failure(self, expected: int, index: int, image: Any) -> str:
        """Return why frame `expected` cannot be had when the decoder gives image `index`, or an empty string."""
        if expected in self.index.damaged:
            return self.index.damaged[expected]
        if index > expected:
            return "the decoder drops it"
        if isinstance(image, str):  # the decoder refused its packet
            return image
        return "its data is damaged" if image.is_corrupt else ""

    def _numbered_images(
        self, container: Any, stream: Any, origin: int | None, start: int
    ) -> Iterator[tuple[int, Any]]:
        """Yield decoded images with their frame numbers, or none if the seek to `origin` missed a usable key frame.

        Without exact time stamps, pictures are counted. A packet that the decoder refuses then takes a number, and the
        reason is yielded instead of an image.
        """
        order = {stamp: i for i, stamp in enumerate(self._stamps)}
        count, failures = -self.index.leading, -self.index.leading_failures
        for position, (packet, images, failure) in enumerate(decode_packets(container, stream)):
            if position == 0 and origin is not None:
                usable = packet is not None and packet.is_keyframe and packet.pts is not None
                if not usable or packet.pts > self._stamps[start]:
                    return
            if order:
                yield from ((order[image.pts], image) for image in images if image.pts in order)
                continue
            numbered = [*([failure] if failure and failures >= 0 else []), *images]
            failures += bool(failure)
            yield from ((number, image) for number, image in enumerate(numbered, count) if number >= 0)
            count += len(numbered)

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
        rgb = show(to_rgb(image), read_orientation(image))
        if rgb.shape[:2] != self.size:
            raise InputError(
                f"{self._path}: frame {index} is {rgb.shape[1]}x{rgb.shape[0]}, the clip is "
                f"{self.size[1]}x{self.size[0]}; the picture size changes mid-stream, cut the clip there"
            )
        return Frame(index, rgb, f"{index:05d}")
