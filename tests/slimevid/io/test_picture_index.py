"""Packets are not pictures: the frames are what the decoder gives."""

from __future__ import annotations

import shutil
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from slimecore.errors import InputError
from slimevid.io import open_clip
from tests.slimevid.io.rare_videos import (
    cut_at_second_key,
    field_pairs,
    hidden_frames,
    packets,
    recorded,
    remux,
    two_films,
    with_cover,
)
from tests.slimevid.io.videos import COUNT, encode, encode_mjpeg, picture, same


def shown(path: Path) -> list[np.ndarray]:
    """Return the pictures that FFmpeg's decoder gives."""
    with av.open(str(path)) as container:
        return [image.to_ndarray(format="rgb24") for image in container.decode(container.streams.best("video"))]


def agrees_both_ways(path: Path) -> int:
    """Compare a clip with the decoder's pictures, in both directions and from any frame, and return its length."""
    clip, pictures = open_clip(path), shown(path)
    whole = list(clip.read(0, len(clip)))
    assert clip.notes == ()
    assert len(clip) == len(whole) == len(pictures)
    assert all(np.array_equal(frame.rgb, rgb) for frame, rgb in zip(whole, pictures, strict=True))
    backward = list(clip.read_reversed(0, len(clip)))[::-1]
    assert all(same(one, other) for one, other in zip(whole, backward, strict=True))
    assert all(same(next(clip.read(i, i + 1)), whole[i]) for i in range(len(clip)))
    return len(clip)


def test_hidden_frames_not_counted(tmp_path: Path) -> None:
    """Frames that are never shown (VP8 alternate references) are no frames of the clip."""
    assert agrees_both_ways(hidden_frames(tmp_path)) == COUNT - 2


def test_two_fields_are_one_frame(tmp_path: Path) -> None:
    """Two packets with a field each are one frame."""
    path = field_pairs(tmp_path)
    assert len(packets(path)) == 24
    assert agrees_both_ways(path) == 12


@pytest.mark.parametrize("name", ["cut.ts", "cut.mkv", "cut.mpg", "cut.avi"])
def test_leading_frames_left_out(tmp_path: Path, name: str) -> None:
    """Frames that have lost what they refer to are left out, and the file is whole."""
    if name == "cut.avi":
        source = encode(tmp_path / "s.ts", "libx264", b_frames=3, gop=8, x264_params="open-gop=1:scenecut=0:b-adapt=0")
    else:
        source = encode(tmp_path / "s.ts", "mpeg2video", gop=12)
    path = cut_at_second_key(source, tmp_path / name, "vob" if name == "cut.mpg" else None)
    assert 20 < agrees_both_ways(path) < COUNT
    assert open_clip(path).fps == 25


def test_frames_not_coded_left_out(tmp_path: Path) -> None:
    """Packets that say "as before" (MPEG-4's not coded pictures) are no frames, and the file is whole."""
    source = encode(tmp_path / "s.avi", "mpeg4", b_frames=0)
    skipped = b"\0\0\1\xb6\x53\xcf"  # a P picture whose bit "coded" is 0
    entries = [(skipped if i in (7, 8) else bytes(p), p.is_keyframe, i) for i, p in enumerate(packets(source))]
    assert agrees_both_ways(remux(source, tmp_path / "c.avi", entries, Fraction(1, 25))) < COUNT


def test_cover_is_not_the_film(clips: dict[str, Path], tmp_path: Path) -> None:
    """A cover picture before the film is passed over."""
    clip = open_clip(with_cover(clips["h264.mp4"], tmp_path / "cover.mp4"))
    plain = open_clip(clips["h264.mp4"])
    assert (len(clip), clip.size, clip.notes) == (COUNT, plain.size, ())
    assert all(map(same, clip.read(0, COUNT), plain.read(0, COUNT)))


def test_song_with_cover_refused(tmp_path: Path) -> None:
    """A song with a cover picture has no film."""
    with av.open(str(tmp_path / "song.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux([*stream.encode(frame), *stream.encode()])
    song = with_cover(tmp_path / "song.mp4", tmp_path / "cover.mp4")
    with pytest.raises(InputError, match="no video stream; what it has is a cover picture"):
        open_clip(song)


def test_film_read_instead_of_preview(tmp_path: Path) -> None:
    """Of several streams the film is read, and a note names the other."""
    path = two_films(tmp_path / "two.mkv")
    clip = open_clip(path)
    assert (len(clip), clip.size) == (COUNT, (48, 64))
    assert clip.notes == (f"{path}: stream 1 (64x48) is read, not 0 (32x24)",)
    assert all(np.array_equal(frame.rgb, picture(frame.index)) for frame in clip.read_reversed(0, COUNT))


@pytest.mark.parametrize("gaps", [[25, 47, 33] * 13, [16, 17, 200] * 13])
def test_rate_follows_time_stamps(tmp_path: Path, gaps: list[int]) -> None:
    """Where no rate is announced, the time stamps give it."""
    clip = open_clip(recorded(tmp_path, gaps))
    assert len(clip) == COUNT
    assert float(clip.fps) == pytest.approx(1000 * len(gaps) / sum(gaps), rel=0.01)


def test_late_start_is_not_truncated(tmp_path: Path) -> None:
    """A film whose time stamps start late is whole."""
    source = encode_mjpeg(tmp_path / "s.mkv", [picture(i) for i in range(COUNT)])
    entries = [(bytes(p), True, 5000 + 40 * i) for i, p in enumerate(packets(source))]
    clip = open_clip(remux(source, tmp_path / "late.mkv", entries, Fraction(1, 1000)))
    assert (len(clip), clip.fps, clip.notes) == (COUNT, 25, ())


@pytest.mark.parametrize("name", ["take:1.mp4", "2026-11-30T10:50:43.mp4", "file:x.mp4", "http:x.mp4"])
def test_colon_in_name_read(clips: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A relative name with a colon is a file, not a protocol."""
    shutil.copy(clips["h264.mp4"], tmp_path / name)
    monkeypatch.chdir(tmp_path)
    assert len(open_clip(name)) == COUNT


def test_damaged_frame_keeps_its_number(tmp_path: Path) -> None:
    """A packet that the decoder refuses is a frame with its own number, from both directions."""
    source = encode_mjpeg(tmp_path / "s.mkv", [picture(i) for i in range(12)])
    content = source.read_bytes()
    packet = bytes(packets(source)[5])
    source.write_bytes(content.replace(packet, bytes(len(packet))))
    clip = open_clip(source)
    assert len(clip) == 12
    assert [frame.index for frame in clip.read(6, 12)] == list(range(6, 12))
    for read in (clip.read(0, 12), clip.read_reversed(0, 12)):
        with pytest.raises(InputError, match="frame 5 cannot be decoded"):
            list(read)
