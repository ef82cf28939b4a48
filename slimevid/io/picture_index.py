"""List the pictures of a video file as its decoder gives them.

Packets are not pictures: a packet may hold a frame that is never shown, a field, or a frame that says "as before". The
first frames of a cut file have lost what they refer to. Therefore the film is decoded once, without conversion, and
the decoder's pictures are the frames. A packet that the decoder refuses is a damaged frame, and keeps its number.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from fractions import Fraction
from itertools import pairwise
from pathlib import Path
from typing import Any

import av
from av.stream import Disposition

from slimecore.errors import InputError
from slimevid.io.completeness import is_truncated
from slimevid.io.display import Orientation, read_orientation

__all__ = ["PictureIndex", "decode_packets", "film_stream", "find_film", "open_container", "read_index", "reason"]

_EXACT_TIMESTAMP_FORMATS = {"mov", "matroska", "mpegts"}  # AVI and program streams guess the time of reordered frames
_STILLS = Disposition.attached_pic | Disposition.timed_thumbnails
_MAX_RATE_ERROR = Fraction(1, 200)  # of an announced rate against the time stamps; beyond it, the time stamps count
_MAX_GUESSED_RATE_ERROR = Fraction(1, 4)  # against time stamps that the format guesses
_MAX_LATE_FAILURES = 64  # of frames that several threads still hold at the end of the file
_DEFAULT_RATE = Fraction(24)


@dataclass(frozen=True, slots=True, eq=False)
class PictureIndex:
    """The pictures of a film.

    Parameters
    ----------
    count : int
        Number of pictures, damaged ones included.
    stamps : tuple of int
        Time stamps in increasing order, one a picture. Empty if the file's stamps are not exact.
    keys : tuple of int
        Time stamps of the codec's key frames.
    leading : int
        Pictures that the decoder gives first and that are not whole. They do not count.
    leading_failures : int
        Packets before the first whole picture that the decoder refuses. They do not count either.
    damaged : dict of int to str
        Numbers of the pictures that the decoder refuses, and why. Empty if the file's stamps are not exact.
    size : (int, int)
        Height and width as stored, before the picture is turned.
    orientation : Orientation
    pixel_shape : Fraction
        Width of a stored pixel divided by its height.
    fps : Fraction
    seconds : Fraction
        Duration.
    has_packet_each : bool
        Every packet holds a picture.
    is_sound : bool
        The decoder refuses no packet.
    stream : int
        Number of the stream in the file.
    notes : tuple of str
    description : dict
        Codec, pixel format, colours and streams, as printed by ``slimevid info``.
    """

    count: int
    stamps: tuple[int, ...]
    keys: tuple[int, ...]
    leading: int
    leading_failures: int
    damaged: dict[int, str]
    size: tuple[int, int]
    orientation: Orientation
    pixel_shape: Fraction
    fps: Fraction
    seconds: Fraction
    has_packet_each: bool
    is_sound: bool
    stream: int
    notes: tuple[str, ...]
    description: dict[str, Any]


@dataclass(slots=True, eq=False)
class _Scan:
    """What one pass of decoding gives."""

    packets: list[tuple[int | None, bool, bool]]  # stamp, key frame, discarded
    ends: list[int]  # last known time of every packet
    times: list[int | None]  # of decoding, one a picture
    pictures: list[tuple[int | None, bool]]  # stamp, damaged
    failures: list[tuple[int | None, bool, str]]  # stamp of the packet, a key frame came before or is it, reason
    first: Any = None  # the first whole picture

    def key_stamp(self) -> int | None:
        return next((stamp for stamp, is_key, _ in self.packets if is_key), None)


def open_container(path: Path) -> Any:
    """Open a video file.

    Raises
    ------
    InputError
        The file is not a readable video.
    """
    try:
        return av.open(str(path.absolute()))  # a relative name with a colon would be taken for a protocol
    except (av.error.FFmpegError, OSError, ValueError) as error:
        raise InputError(
            f"{path}: not a readable video ({reason(error)}); give an mp4, mov, mkv ... or a folder of frames"
        ) from error


def find_film(container: Any, path: Path) -> int:
    """Return the number of the stream that players show: no cover, no preview, the best of several.

    Raises
    ------
    InputError
        The file has no film, or no decoder reads it.
    """
    films = [stream for stream in container.streams.video if not stream.disposition & _STILLS]
    if not films:
        cover = "; what it has is a cover picture" if container.streams.video else ""
        raise InputError(f"{path}: the file has no video stream{cover}")
    films = [stream for stream in films if stream.codec_context is not None]
    if not films:
        raise InputError(f"{path}: no decoder for this video (an unknown codec, or its head is damaged)")
    moving = _moving(path, [stream.index for stream in films]) if len(films) > 1 else {films[0].index}
    films = [stream for stream in films if stream.index in moving] or films
    best = container.streams.best("video")
    if best is not None and best.index in {stream.index for stream in films}:
        return int(best.index)
    return int(max(films, key=_rank).index)


def _moving(path: Path, streams: list[int]) -> set[int]:
    """Return those of several streams that hold more than one packet. A preview may be a film of a single picture."""
    counts = dict.fromkeys(streams, 0)
    with open_container(path) as container, suppress(av.error.FFmpegError):  # reported by the scan
        for packet in container.demux([container.streams[i] for i in streams]):
            counts[packet.stream.index] += bool(packet.size)
            if min(counts.values()) > 1:
                break
    return {stream for stream, count in counts.items() if count > 1}


def film_stream(container: Any, stream: int, *, threads: bool) -> Any:
    """Return a stream by its number, ready to decode.

    Parameters
    ----------
    container : av.InputContainer
    stream : int
    threads : bool
        Decode several frames at a time.
    """
    film = container.streams[stream]
    film.thread_type = "AUTO" if threads else "NONE"
    return film


def _rank(stream: Any) -> tuple[bool, int, int]:
    """Return the key of the best stream. Of equal ones :func:`max` takes the first."""
    area = stream.codec_context.width * stream.codec_context.height
    return bool(stream.disposition & Disposition.default), area, stream.frames


def decode_packets(container: Any, stream: Any) -> Iterator[tuple[Any, list[Any], str]]:
    """Yield every packet with the pictures that come out of the decoder by it, and why it fails, if it does.

    The last packet is None. Empty packets, which say "as before", are passed over.
    """
    for packet in container.demux(stream):
        if not packet.size:  # the decoder would take an empty packet for the end
            continue
        try:
            yield packet, packet.decode(), ""
        except av.error.FFmpegError as error:
            yield packet, [], reason(error)
    for _ in range(_MAX_LATE_FAILURES):
        try:
            yield None, stream.codec_context.decode(None), ""
            return
        except av.error.EOFError:
            return
        except av.error.FFmpegError as error:
            yield None, [], reason(error)


def read_index(path: Path) -> PictureIndex:
    """Decode a film once and list its pictures.

    Raises
    ------
    InputError
        The file is not a readable video, or has no whole picture.
    """
    with open_container(path) as container:
        number = find_film(container, path)
        scan = _scan(path, number, threads=True)
        if scan.failures or len(scan.pictures) != len(scan.packets):
            scan = _scan(path, number, threads=False)  # several threads report a failure late, and lose frames before
        return _make_index(path, container, container.streams[number], scan)


def _scan(path: Path, number: int, *, threads: bool) -> _Scan:
    scan = _Scan([], [], [], [], [])
    with open_container(path) as container:
        stream = film_stream(container, number, threads=threads)
        seen_key = False
        try:
            for packet, images, failure in decode_packets(container, stream):
                if packet is not None:
                    scan.packets.append((packet.pts, packet.is_keyframe, packet.is_discard))
                    seen_key = seen_key or packet.is_keyframe
                    scan.ends += [max(time for time in (packet.pts, packet.dts, -1) if time is not None)]
                if failure:
                    scan.failures.append((packet and packet.pts, seen_key, failure))
                for image in images:
                    if scan.first is None and not image.is_corrupt:
                        scan.first = image
                    scan.pictures.append((image.pts, bool(image.is_corrupt)))
                    scan.times.append(image.dts)
        except av.error.FFmpegError as error:
            raise InputError(f"{path}: the file is damaged or cut off ({error})") from error
    return scan


def _make_index(path: Path, container: Any, stream: Any, scan: _Scan) -> PictureIndex:
    if not scan.packets:
        raise InputError(f"{path}: the video has no frames")
    if scan.first is None:
        why = scan.failures[0][2] if scan.failures else "its data is damaged"
        seen = scan.failures or scan.pictures
        raise InputError(f"{path}: " + (f"frame 0 cannot be decoded ({why})" if seen else "no frame could be decoded"))
    key = scan.key_stamp()
    failures = [(stamp, text) for stamp, seen_key, text in scan.failures if seen_key and not _is_before(stamp, key)]
    leading = 0
    while scan.pictures[leading][1] and _is_before(scan.pictures[leading][0], key):
        leading += 1
    stamps = [stamp for stamp, _ in scan.pictures[leading:]]
    known = [stamp for stamp in stamps if stamp is not None]
    is_ordered = len(known) == len(stamps) and all(before < after for before, after in pairwise(known))
    exact = bool(_EXACT_TIMESTAMP_FORMATS.intersection(container.format.name.split(","))) and is_ordered
    lost = {stamp: text for stamp, text in failures if stamp is not None} if exact else {}
    known = sorted({*known, *lost})
    count = len(known) if exact else len(stamps) + len(failures)
    times, error = (known, _MAX_RATE_ERROR) if is_ordered else (_known_times(scan.times), _MAX_GUESSED_RATE_ERROR)
    fps = _frame_rate(stream, times, error)
    span = Fraction((known[-1] - known[0]) * stream.time_base) if is_ordered and count > 1 else (count - 1) / fps
    shown = [packet for packet in scan.packets if not packet[2]]
    pixel_shape = Fraction(stream.sample_aspect_ratio or 1)
    return PictureIndex(
        count=count,
        stamps=tuple(known) if exact else (),
        keys=tuple(sorted(stamp for stamp, is_key, _ in shown if is_key and stamp is not None)),
        leading=leading,
        leading_failures=len(scan.failures) - len(failures),
        damaged={known.index(stamp): text for stamp, text in lost.items()},
        size=(scan.first.height, scan.first.width),
        orientation=read_orientation(scan.first),
        pixel_shape=pixel_shape if pixel_shape > 0 else Fraction(1),
        fps=fps,
        seconds=span + 1 / fps,
        has_packet_each=len(shown) == count and not leading and not failures,
        is_sound=not scan.failures,
        stream=stream.index,
        notes=(
            *(f"{path}: {note}" for note in _truncation(container, stream, scan, fps)),
            *_other_films(path, container, stream),
        ),
        description=_describe(container, stream, scan.first),
    )


def _known_times(times: list[int | None]) -> list[int]:
    """Return the times of decoding, or nothing if some are unknown. The last pictures come out without a packet."""
    known = [time for time in times if time is not None]
    return known if None not in times[: len(known)] else []


def _is_before(stamp: int | None, key: int | None) -> bool:
    return stamp is not None and key is not None and stamp < key


def _frame_rate(stream: Any, stamps: list[int], max_error: Fraction) -> Fraction:
    """Return frames a second: as announced if the time stamps agree, or as the time stamps say.

    Parameters
    ----------
    stream : av.VideoStream
    stamps : list of int
        One a picture.
    max_error : Fraction
        Of an announced rate, as a share of the duration.
    """
    announced = [Fraction(rate) for rate in (stream.average_rate, stream.guessed_rate) if rate]
    if len(stamps) < 2 or stamps[-1] <= stamps[0]:
        return next(iter(announced), _DEFAULT_RATE)
    span, steps = Fraction((stamps[-1] - stamps[0]) * stream.time_base), len(stamps) - 1
    tolerance = max(max_error * span, 2 * stream.time_base)  # time stamps are rounded
    agreeing = (rate for rate in announced if abs(steps / rate - span) <= tolerance)
    return next(agreeing, (steps / span).limit_denominator(1001))


def _truncation(container: Any, stream: Any, scan: _Scan, fps: Fraction) -> tuple[str, ...]:
    """Return a note if the file holds less than its header announces.

    Packets are compared with packets. Some formats announce the time from 0 and some from the first frame: the longer
    of both is what was found, so that a film that starts late is whole.
    """
    stamps = [stamp for stamp, *_ in scan.packets if stamp is not None]
    last = max(scan.ends)
    found = Fraction((last - min(0, *stamps)) * stream.time_base) + 1 / fps if last >= 0 else None
    return is_truncated((len(scan.packets), found), (stream.frames, _announced_duration(container, stream)))


def _announced_duration(container: Any, stream: Any) -> Fraction | None:
    """Return the video's duration in seconds as its header announces it, or None.

    The duration of the file is used only if the file has a single stream: otherwise it may be that of the sound.
    """
    if stream.duration is not None:
        return Fraction(stream.duration * stream.time_base)
    single_stream = len(container.streams) == 1 and container.duration is not None
    return Fraction(container.duration, av.time_base) if single_stream else None


def _other_films(path: Path, container: Any, stream: Any) -> tuple[str, ...]:
    """Return a note on other films in the file."""
    others = [s for s in container.streams.video if s.index != stream.index and not s.disposition & _STILLS]
    if not others:
        return ()
    named = ", ".join(f"{s.index} ({_stream_size(s)})" for s in others)
    return (f"{path}: stream {stream.index} ({_stream_size(stream)}) is read, not {named}",)


def _stream_size(stream: Any) -> str:
    context = stream.codec_context
    return f"{context.width}x{context.height}" if context is not None else "unknown codec"


def _describe(container: Any, stream: Any, image: Any) -> dict[str, Any]:
    """Return codec, pixel format, colours and streams of a file."""
    return {
        "container": container.format.name,
        "codec": stream.codec_context.name,
        "pixel_format": image.format.name,
        "colors": {
            "matrix": _code(image, "colorspace"),
            "primaries": _code(image, "color_primaries"),
            "transfer": _code(image, "color_trc"),
            "range": _code(image, "color_range"),
        },
        "streams": [_stream_entry(each, stream.index) for each in container.streams],
    }


def _code(image: Any, name: str) -> int | None:
    value = getattr(image, name, None)
    return None if value is None else int(value)


def _stream_entry(stream: Any, read: int) -> dict[str, Any]:
    context = stream.codec_context
    entry: dict[str, Any] = {"index": stream.index, "kind": stream.type, "codec": context.name if context else None}
    if stream.type == "video":
        entry |= {"size": _stream_size(stream), "cover": bool(stream.disposition & _STILLS)}
    return entry | {"read": stream.index == read}


def reason(error: BaseException) -> str:
    """Return why FFmpeg failed."""
    return str(getattr(error, "strerror", None) or error)
