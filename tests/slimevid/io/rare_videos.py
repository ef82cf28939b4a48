"""Make videos as cameras, recorders and cutters write them, which no encoder option gives."""

from __future__ import annotations

import struct
from fractions import Fraction
from io import BytesIO
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.slimevid.io.videos import COUNT, encode, picture

H, W = 48, 64


def packets(path: Path) -> list[av.Packet]:
    """Return the packets of the first video stream."""
    with av.open(str(path)) as container:
        return [packet for packet in container.demux(video=0) if packet.size]


def remux(source: Path, target: Path, entries, time_base: Fraction, mux=None, form=None) -> Path:
    """Write packets given as (bytes, is_keyframe, stamp) with the stream header of `source`."""
    with av.open(str(source)) as origin, av.open(str(target), "w", format=form, options=mux or {}) as out:
        stream = out.add_stream_from_template(origin.streams.video[0])
        for content, is_key, stamp in entries:
            packet = av.Packet(content)
            packet.stream, packet.time_base, packet.is_keyframe = stream, time_base, is_key
            packet.pts = packet.dts = stamp
            out.mux(packet)
    return target


def hidden_frames(folder: Path) -> Path:
    """Return a VP8 file in which packets 4 and 9 hold frames that are never shown."""
    source = encode(folder / "plain.webm", "libvpx", b_frames=None, gop=12, auto_alt_ref="0", lag_in_frames="0")
    entries = []
    for i, packet in enumerate(packets(source)):
        content = bytearray(bytes(packet))
        if i in (4, 9):
            content[0] &= ~0x10  # show_frame of the frame tag
        entries.append((bytes(content), packet.is_keyframe, 40 * i))
    return remux(source, folder / "hidden.webm", entries, Fraction(1, 1000))


class _Bits:
    """Bits of an H.264 unit."""

    def __init__(self) -> None:
        self.bits: list[int] = []

    def u(self, count: int, value: int) -> _Bits:
        self.bits += [(value >> (count - 1 - i)) & 1 for i in range(count)]
        return self

    def ue(self, *values: int) -> _Bits:
        for value in values:
            length = (value + 1).bit_length()
            self.u(length - 1, 0).u(length, value + 1)
        return self

    def raw(self, content: bytes) -> _Bits:
        self.bits += [0] * (-len(self.bits) % 8)
        self.bits += np.unpackbits(np.frombuffer(content, np.uint8)).tolist()
        return self

    def unit(self, reference: int, kind: int) -> bytes:
        self.bits.append(1)
        content, zeros = bytearray(), 0
        for byte in np.packbits(np.array(self.bits, np.uint8)).tobytes():
            if zeros >= 2 and byte <= 3:
                content.append(3)
                zeros = 0
            content.append(byte)
            zeros = zeros + 1 if byte == 0 else 0
        return b"\0\0\0\1" + bytes([reference << 5 | kind]) + bytes(content)


def field_pairs(folder: Path, count: int = 12) -> Path:
    """Return a transport stream of interlaced H.264 with a packet a field (PAFF), uncompressed (I_PCM)."""
    height, width = 64, 64
    sequence = _Bits().u(24, 77 << 16 | 30).ue(0, 4, 0, 4, 1).u(1, 0).ue(width // 16 - 1, height // 32 - 1)
    sequence.u(4, 0b0010).u(1, 1).u(4, 0).u(1, 1).u(32, 1).u(32, 50).u(1, 1).u(4, 0)
    pictures = _Bits().ue(0, 0).u(2, 0).ue(0, 0, 0).u(3, 0).ue(0, 0, 0).u(3, 0b110)
    head, fields = sequence.unit(1, 7) + pictures.unit(1, 8), []
    for i in range(count):
        image = av.VideoFrame.from_ndarray(picture(i, (height, width)), format="rgb24").reformat(format="yuv420p")
        planes = image.to_ndarray()
        luma, chroma = planes[:height], planes[height:].reshape(2, height // 2, width // 2)
        for bottom in (0, 1):
            y, c, first = luma[bottom::2], chroma[:, bottom::2], i == 0 and bottom == 0
            bits = _Bits().ue(0, 7, 0).u(8, i).u(2, 2 | bottom)
            if first:
                bits.ue(0)
            bits.u(8, 2 * i + bottom).u(2 if first else 1, 0).ue(0, 1)
            for a in range(height // 32):
                for b in range(width // 16):
                    block = slice(a * 8, a * 8 + 8), slice(b * 8, b * 8 + 8)
                    samples = y[a * 16 : a * 16 + 16, b * 16 : b * 16 + 16].tobytes()
                    bits.ue(25).raw(samples + c[0][block].tobytes() + c[1][block].tobytes())
            start = _Bits().u(3, 0).unit(0, 9) + (head if bottom == 0 else b"")
            fields.append(start + bits.unit(1, 5 if first else 1))
    (folder / "fields.h264").write_bytes(b"".join(fields))
    entries = [(field, i == 0, 90000 + 1800 * i) for i, field in enumerate(fields)]
    return remux(folder / "fields.h264", folder / "fields.ts", entries, Fraction(1, 90000))


def _box(kind: bytes, *parts: bytes) -> bytes:
    return struct.pack(">I", 8 + sum(map(len, parts))) + kind + b"".join(parts)


def with_cover(source: Path, target: Path) -> Path:
    """Return an MP4 with a cover picture of twice its size, which becomes the first video stream."""
    data = source.read_bytes()
    start = data.rfind(b"moov") - 4
    size = struct.unpack(">I", data[start : start + 4])[0]
    cover = BytesIO()
    Image.new("RGB", (2 * W, 2 * H), (77, 77, 77)).save(cover, "JPEG")
    items = _box(b"ilst", _box(b"covr", _box(b"data", struct.pack(">II", 13, 0), cover.getvalue())))
    handler = _box(b"hdlr", bytes(8) + b"mdirappl" + bytes(9))
    tags = _box(b"udta", _box(b"meta", bytes(4), handler, items))
    target.write_bytes(data[:start] + _box(b"moov", tags, data[start + 8 : start + size]) + data[start + size :])
    return target


def with_matrix(source: Path, target: Path, matrix: tuple[int, int, int, int]) -> Path:
    """Return an MP4 with the display matrix (a, b, c, d)."""
    a, b, c, d = (value << 16 for value in matrix)
    data = bytearray(source.read_bytes())
    start = data.find(b"tkhd") + 44
    data[start : start + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    target.write_bytes(bytes(data))
    return target


def recorded(folder: Path, gaps: list[int]) -> Path:
    """Return a WebM as browsers record it: stamps of milliseconds, no rate, no duration."""
    source = encode(folder / "plain.webm", "libvpx", b_frames=None, deadline="realtime", lag_in_frames="0")
    stamps = np.r_[0, np.cumsum(gaps)].tolist()
    entries = [(bytes(p), p.is_keyframe, stamp) for p, stamp in zip(packets(source), stamps, strict=True)]
    return remux(source, folder / "recorded.webm", entries, Fraction(1, 1000), {"live": "1"})


def cut_at_second_key(source: Path, target: Path, form: str | None = None) -> Path:
    """Return a copy without conversion from the second key frame on, the frames before it in display order included."""
    with av.open(str(source)) as origin, av.open(str(target), "w", format=form) as out:
        kept = [packet for packet in origin.demux(video=0) if packet.size]
        kept = kept[[i for i, packet in enumerate(kept) if packet.is_keyframe][1] :]
        stream, base = out.add_stream_from_template(origin.streams.video[0]), min(p.dts for p in kept)
        for packet in kept:
            packet.stream = stream
            packet.pts, packet.dts = packet.pts - base, packet.dts - base
            out.mux(packet)
    return target


def two_films(path: Path) -> Path:
    """Return a Matroska file whose first film is a preview of a single small picture."""
    with av.open(str(path), "w") as out:
        small, film = out.add_stream("mjpeg", rate=25), out.add_stream("ffv1", rate=25)
        small.width, small.height, small.pix_fmt = 32, 24, "yuvj420p"
        film.width, film.height, film.pix_fmt = W, H, "bgr0"
        out.mux(small.encode(av.VideoFrame.from_ndarray(picture(0, (24, 32)), format="rgb24")))
        for i in range(COUNT):
            out.mux(film.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        out.mux([*small.encode(), *film.encode()])
    return path
