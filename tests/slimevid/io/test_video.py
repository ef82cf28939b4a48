"""Video files: every frame exactly once, in both directions, from any position."""

from __future__ import annotations

import itertools
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from slimecore.errors import InputError
from slimevid.io import open_clip, read_range
from tests.slimevid.io.videos import COUNT, KINDS, encode, encode_mjpeg, picture, refusal, same


@pytest.mark.parametrize("name", KINDS)
def test_frames_exact_from_any_position(clips: dict[str, Path], name: str) -> None:
    """Every frame is read exactly from any position, and backwards.

    Demuxers seek by decoding time, to no key frame, or by guessed timestamps. None of it may show.
    """
    if name not in clips:
        pytest.skip("this PyAV has no such encoder")
    clip = open_clip(clips[name])
    whole = list(clip.read(0, len(clip)))
    assert len(clip) == len(whole) == COUNT
    assert [f.index for f in whole] == list(range(COUNT))
    assert [f.name for f in whole] == clip.stems() == [f"{i:05d}" for i in range(COUNT)]
    for frame in whole:
        assert np.abs(frame.rgb.astype(int) - picture(frame.index, clip.size)).mean() < 12, frame.index
    for start in range(COUNT):
        for stop in {start, start + 1, min(COUNT, start + 8)}:
            part = list(clip.read(start, stop))
            assert len(part) == stop - start
            assert all(map(same, part, whole[start:stop])), (start, stop)
    for start, stop in ((0, COUNT), (3, 31), (7, 7)):
        assert all(itertools.starmap(same, zip(clip.read_reversed(start, stop), whole[start:stop][::-1], strict=True)))
    assert list(clip.read(COUNT, COUNT)) == []


def test_lossless_odd_size_exact(clips: dict[str, Path]) -> None:
    """Lossless frames of odd size are exact."""
    clip = open_clip(clips["lossless.mkv"])
    assert clip.size == (45, 67)
    assert all(np.array_equal(f.rgb, picture(f.index, (45, 67))) for f in clip.read(0, COUNT))
    assert not next(clip.read(0, 1)).rgb.flags.writeable


def test_frame_rate_read(clips: dict[str, Path], tmp_path: Path) -> None:
    """The frame rate is read from the file."""
    assert open_clip(clips["h264.mp4"]).fps == 25
    clip = open_clip(encode(tmp_path / "ntsc.mp4", "libx264", fps=Fraction(30000, 1001)))
    assert clip.fps == Fraction(30000, 1001)
    assert clip.name == "ntsc"


def test_variable_rate_keeps_all_frames(tmp_path: Path) -> None:
    """A variable frame rate keeps every frame."""
    path = tmp_path / "vfr.mkv"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("ffv1", rate=1000)
        stream.height, stream.width, stream.pix_fmt = 45, 67, "bgr0"
        for i in range(20):
            frame = av.VideoFrame.from_ndarray(picture(i, (45, 67)), format="rgb24")
            frame.pts, frame.time_base = i * i * 7 + i, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    clip = open_clip(path)
    assert len(clip) == 20
    assert all(np.array_equal(f.rgb, picture(f.index, (45, 67))) for f in clip.read(9, 20))
    assert [f.index for f in clip.read_reversed(0, 20)] == list(range(19, -1, -1))


def test_edit_list_hides_frames(clips: dict[str, Path], tmp_path: Path) -> None:
    """Frames hidden by an edit list are not counted.

    Phones and lossless cutters hide the frames before the cut.
    """
    path = tmp_path / "cut.mp4"
    options = {"avoid_negative_ts": "disabled"}
    with av.open(str(clips["h264.mp4"])) as source, av.open(str(path), "w", options=options) as out:
        stream = source.streams.video[0]
        target, earlier = out.add_stream_from_template(stream), int(5 / 25 / stream.time_base)
        for packet in source.demux(stream):
            if packet.dts is not None:
                packet.pts, packet.dts, packet.stream = packet.pts - earlier, packet.dts - earlier, target
                out.mux(packet)
    clip, original = open_clip(path), open_clip(clips["h264.mp4"])
    assert len(clip) == COUNT - 5
    for start in (0, 1, 9, COUNT - 6):
        assert np.array_equal(next(clip.read(start, start + 1)).rgb, next(original.read(start + 5, start + 6)).rgb)


def test_cut_transport_stream_starts_whole(clips: dict[str, Path], tmp_path: Path) -> None:
    """A cut transport stream starts at its first whole frame."""
    data = clips["h264.ts"].read_bytes()
    (tmp_path / "cut.ts").write_bytes(data[len(data) // 188 // 2 * 188 :])
    clip = open_clip(tmp_path / "cut.ts")
    whole = list(clip.read(0, len(clip)))
    assert 5 < len(whole) < COUNT
    first = [np.abs(whole[0].rgb.astype(int) - picture(i)).mean() for i in range(COUNT)]
    assert np.argmin(first) == COUNT - len(whole)
    assert all(same(next(clip.read(i, i + 1)), whole[i]) for i in range(len(whole)))


# Broken files


def test_missing_clip_refused(tmp_path: Path) -> None:
    """A missing clip is refused."""
    assert "no such clip" in refusal(tmp_path / "gone.mp4")


@pytest.mark.parametrize("content", [b"", b"hello\nthere\n" * 100])
def test_non_video_refused(tmp_path: Path, content: bytes) -> None:
    """A file that is no video is refused."""
    (tmp_path / "a.mp4").write_bytes(content)
    assert "not a readable video" in refusal(tmp_path / "a.mp4")


def test_truncated_video_refused(clips: dict[str, Path], tmp_path: Path) -> None:
    """Truncated videos are refused."""
    front = encode(tmp_path / "front.mp4", "libx264", mux={"movflags": "faststart"})
    for source in (clips["h264.mp4"], front):
        data = source.read_bytes()
        (tmp_path / "cut.mp4").write_bytes(data[: len(data) * 6 // 10])
        message = refusal(tmp_path / "cut.mp4")
        assert "not a readable video" in message or "damaged or cut off" in message


@pytest.mark.parametrize("start", [0, 1])
def test_dropped_frame_named_without_shift(clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch, start: int) -> None:
    """A frame that the decoder drops is named and shifts no other.

    The decoder is told to leave out frames that no other needs. Here this is frame 1.
    """
    from slimevid.io.video import VideoClip

    first = next(open_clip(clips["h264.mp4"]).read(0, 1))
    clip, real = open_clip(clips["h264.mp4"]), VideoClip._stream

    def hasty(self: VideoClip, container: object) -> object:
        stream = real(self, container)
        stream.codec_context.skip_frame = "NONREF"
        return stream

    monkeypatch.setattr(VideoClip, "_stream", hasty)
    frames = clip.read(start, COUNT)
    if start == 0:
        assert same(next(frames), first)
    with pytest.raises(InputError, match=r"frame 1 cannot be decoded \(the decoder drops it\)"):
        next(frames)


@pytest.mark.parametrize("name", ["h264.mp4", "mpeg4.avi", "vp9.webm"])
@pytest.mark.parametrize("frames", [range(0, COUNT, 7)[0:6], range(3, COUNT, 6)[2:7], range(0, COUNT, 9)[::-1]])
def test_stride_may_end_beyond_clip(clips: dict[str, Path], name: str, frames: range) -> None:
    """A sliced range may stop at a number past its last frame, and past the clip's."""
    if name not in clips:
        pytest.skip("this PyAV has no such encoder")
    found = [frame.index for frame in read_range(open_clip(clips[name]), frames)]
    assert found == list(frames)


def test_audio_only_refused(tmp_path: Path) -> None:
    """A file of sound alone is refused."""
    with av.open(str(tmp_path / "a.mp4"), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.sample_rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode())
    assert "no video stream" in refusal(tmp_path / "a.mp4")


@pytest.mark.parametrize("frames", [range(0, 40, 3), range(2, 39), range(37, 4, -5), range(39, -1, -1)])
def test_video_read_with_stride_both_ways(tmp_path, frames):
    """Video files are read with a stride in both directions."""
    from slimevid.io.writers import OverlayWriter

    with OverlayWriter(tmp_path / "v.mp4", (32, 48), Fraction(24), crf=1) as video:
        for i in range(40):
            video.write(np.full((32, 48, 3), 6 * i, np.uint8))
    found = list(read_range(open_clip(tmp_path / "v.mp4"), frames))
    assert [f.index for f in found] == list(frames)
    assert all(abs(float(f.rgb.mean()) - 6 * f.index) < 3 for f in found)


def test_unknown_codec_refused(tmp_path):
    """A video of an unknown codec is refused."""
    video = encode_mjpeg(tmp_path / "clip.mkv", [np.zeros((48, 64, 3), np.uint8)] * 2)
    content = video.read_bytes()
    assert content.count(b"V_MJPEG") == 1
    video.write_bytes(content.replace(b"V_MJPEG", b"V_XXXXX"))
    with pytest.raises(InputError, match=r"clip\.mkv: no decoder for this video"):
        open_clip(video)
