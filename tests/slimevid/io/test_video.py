"""Clips in: every frame exactly once, in both directions, from any position."""

import importlib.util
import itertools
import re
import sys
import types
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from slimecore.errors import InputError
from slimevid.io import open_clip, read_range

COUNT, SIZE = 40, (48, 64)


@pytest.fixture(autouse=True)
def _no_decord(monkeypatch: pytest.MonkeyPatch) -> None:
    """What decord answers is tested on its own."""
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "decord" else real(name, *a))


def picture(index: int, size: tuple[int, int] = SIZE) -> np.ndarray:
    """Frames that even a lossy codec keeps apart: a bar in its own place, on its own grey."""
    rgb = np.full((*size, 3), 40 + 3 * index, np.uint8)
    rgb[:, (index * 5) % size[1] : (index * 5) % size[1] + 6] = (250, 20, 250 - 5 * index)
    return rgb


def encode(
    path: Path, codec: str, *, size=SIZE, pix="yuv420p", gop=6, b_frames=2, fps=Fraction(25), mux=None, **options
) -> Path:
    with av.open(str(path), "w", options=mux or {}) as container:
        stream = container.add_stream(codec, rate=fps)
        stream.height, stream.width, stream.pix_fmt, stream.gop_size = *size, pix, gop
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        stream.options = {k.replace("_", "-"): v for k, v in options.items()}
        for i in range(COUNT):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i, size), format="rgb24")))
        container.mux(stream.encode())
    return path


KINDS = {
    "h264.mp4": {"codec": "libx264"},
    "open-gop.mp4": {"codec": "libx264", "b_frames": 3, "x264_params": "open-gop=1"},
    "h264.mkv": {"codec": "libx264"},
    "h264.avi": {"codec": "libx264"},
    "h264.ts": {"codec": "libx264"},
    "fragments.mp4": {"codec": "libx264", "mux": {"movflags": "frag_keyframe+empty_moov"}},
    "mpeg4.mp4": {"codec": "mpeg4"},
    "mpeg4.ts": {"codec": "mpeg4", "gop": 12},
    "mpeg4.avi": {"codec": "mpeg4"},
    "mpeg2.mpg": {"codec": "mpeg2video"},
    "vp9.webm": {"codec": "libvpx-vp9", "b_frames": None, "gop": 12, "cpu_used": "8", "deadline": "realtime"},
    "lossless.mkv": {"codec": "ffv1", "b_frames": None, "pix": "bgr0", "size": (45, 67)},
}


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("clips")
    paths = {}
    for name, how in KINDS.items():
        codec = how["codec"]
        if codec in av.codecs_available:
            paths[name] = encode(folder / name, **how)
    return paths


def same(one, other) -> bool:
    return one.index == other.index and one.name == other.name and np.array_equal(one.rgb, other.rgb)


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


def refusal(path: Path) -> str:
    def read_all() -> None:
        clip = open_clip(path)
        for _ in clip.read(0, len(clip)):
            pass

    with pytest.raises(InputError) as caught:
        read_all()
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    return str(caught.value)


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
def test_dropped_frame_named_without_shift(
    clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch, start: int
) -> None:
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


# decord


class _Decord:
    """As much of decord as is used, with marked pictures."""

    def __init__(self, count: int, size: tuple[int, int]) -> None:
        self.count, self.size = count, size

    def VideoReader(self, path: str, num_threads: int) -> "_Decord":
        return self

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> np.ndarray:
        return np.full((*self.size, 3), index, np.uint8)

    def get_batch(self, indices: list[int]):
        if indices == [10, 11, 12, 13]:
            raise RuntimeError("cannot decode")
        return types.SimpleNamespace(asnumpy=lambda: np.stack([self[i] for i in indices]))


def install(monkeypatch: pytest.MonkeyPatch, fake: object) -> None:
    from slimevid.io import decord

    decord._reader.cache_clear()
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *_: name)
    monkeypatch.setitem(sys.modules, "decord", fake)


def test_decord_reads_backward(clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """decord serves the backward direction."""
    install(monkeypatch, _Decord(COUNT, SIZE))
    clip = open_clip(clips["h264.mp4"])
    frames = list(clip.read_reversed(2, 38))
    assert [f.index for f in frames] == list(range(37, 1, -1))
    assert [int(f.rgb[0, 0, 0]) for f in frames] == list(range(37, 1, -1))
    assert frames[0].name == "00037"
    with pytest.raises(InputError, match=r"frames 10\.\.13 cannot be decoded"):
        list(clip.read_reversed(10, 14))


@pytest.mark.parametrize(
    ("name", "count", "size"),
    [
        ("h264.mp4", COUNT + 1, SIZE),
        ("h264.mp4", COUNT, SIZE[::-1]),
        ("mpeg4.mp4", COUNT, SIZE),
        ("h264.ts", COUNT, SIZE),
        ("mpeg4.avi", COUNT, SIZE),
    ],
)
def test_decord_skipped_where_unreliable(
    clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str, count: int, size: tuple[int, int]
) -> None:
    """decord is not used where it errs.

    It seeks to wrong frames in MPEG-4 and transport streams, and may count or rotate differently.
    """
    install(monkeypatch, _Decord(count, size))
    clip = open_clip(clips[name])
    forward = list(clip.read(0, COUNT))
    assert all(itertools.starmap(same, zip(clip.read_reversed(0, COUNT), forward[::-1], strict=True)))


@pytest.mark.parametrize("name", KINDS)
def test_real_decord_agrees(clips: dict[str, Path], monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """The installed decord gives the same frames."""
    real = pytest.importorskip("decord")
    if name not in clips:
        pytest.skip("this PyAV has no such encoder")
    install(monkeypatch, real)
    clip = open_clip(clips[name])
    for back, frame in zip(clip.read_reversed(0, COUNT), list(clip.read(0, COUNT))[::-1], strict=True):
        assert back.index == frame.index
        assert np.abs(back.rgb.astype(int) - frame.rgb).mean() < 3


# Folders


def write_folder(folder: Path, names: list[str], size=(6, 9)) -> Path:
    folder.mkdir(exist_ok=True)
    for i, name in enumerate(names):
        Image.fromarray(picture(i, size)).save(folder / name)
    return folder


def test_folder_read_in_natural_order(tmp_path: Path) -> None:
    """A folder is read in natural order, whatever its file names."""
    names = ["a 1.png", "a 2.png", "a 10.png", "b.PNG", "ü ❤.png", "…#%.png"]
    folder = write_folder(tmp_path / "odd names", names)
    (folder / "readme.txt").touch()
    clip = open_clip(folder)
    assert len(clip) == 6
    assert clip.name == "odd names"
    assert clip.size == (6, 9)
    assert clip.stems()[:4] == ["a 1", "a 2", "a 10", "b"]
    whole = list(clip.read(0, 6))
    assert [f.name for f in whole] == clip.stems()
    assert all(
        np.array_equal(f.rgb, picture(names.index(f"{f.name}.{'PNG' if f.name == 'b' else 'png'}"), (6, 9)))
        for f in whole
    )
    assert all(map(same, clip.read(2, 5), whole[2:5]))
    assert [f.index for f in clip.read_reversed(1, 5)] == [4, 3, 2, 1]
    assert list(clip.read(6, 6)) == []


def test_empty_folder_gives_hint(tmp_path: Path) -> None:
    """An empty folder gives a hint."""
    assert "give a folder of JPEG or PNG frames" in refusal(tmp_path)
    write_folder(tmp_path / "dog", ["0.png"])
    (tmp_path / "none").mkdir()
    assert "its folders dog do: give one of them" in refusal(tmp_path)


def test_duplicate_stems_refused(tmp_path: Path) -> None:
    """Two frames of the same stem are refused."""
    assert "several frames are called '1'" in refusal(write_folder(tmp_path, ["1.png", "1.jpg"]))


def test_differently_sized_frame_named(tmp_path: Path) -> None:
    """A frame of another size is named."""
    write_folder(tmp_path, ["1.png", "2.png", "3.png"])
    Image.new("RGB", (9, 7)).save(tmp_path / "2.png")
    message = refusal(tmp_path)
    assert "frame 1 (" in message
    assert "2.png) is 9x7, the clip is 9x6" in message


def test_broken_frame_named(tmp_path: Path) -> None:
    """A broken frame is named."""
    write_folder(tmp_path, ["1.png", "2.png"])
    (tmp_path / "2.png").write_bytes((tmp_path / "2.png").read_bytes()[:40])
    assert re.match(r"frame 1: .*2\.png", refusal(tmp_path))
