"""Errors in the middle of a clip: earlier masks are kept, the frame is named, and ``--resume`` continues."""

from __future__ import annotations

import errno
import json

import av
import numpy as np
import pytest
from PIL import Image

from slimecore.io.masks import read_mask
from slimevid.io import open_clip
from slimevid.io.writers import ScoreWriter
from tests.slimevid.run.commands import COUNT, encode_disc, run_video

KINDS = ("masks", "scores.csv", "run.json")


def whole_run(command, tmp_path, read_results, *arguments):
    assert command("--ref", tmp_path / "ref_0.png", *arguments, out="whole") == 0
    return read_results(tmp_path / "whole", *KINDS)


def masks(tmp_path, out="out"):
    return sorted(p.name for p in (tmp_path / out / "masks").glob("[!.]*"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_bytes(path.read_bytes()[:40]), "frame 7: cannot read"),
        (lambda path: path.write_bytes(b""), "frame 7: cannot read"),
        (lambda path: path.unlink(), None),
        (lambda path: Image.new("RGB", (64, 50)).save(path), "is 64x50, the clip is 64x48"),
    ],
    ids=["cut off", "empty", "gone", "another size"],
)
@pytest.mark.parametrize(("span", "kept"), [(0, 7), (4, 5)], ids=["forward", "in both directions"])
def test_broken_frame_keeps_earlier_masks(
    command, slide, tmp_path, one_line, read_results, damage, message, monkeypatch, span, kept
):
    """A broken frame of a folder is named, the masks before it are kept, and ``--resume`` completes the run."""
    both = ("--set", f"bidirectional_span={span}")
    expected = whole_run(command, tmp_path, read_results, *both)
    frame = slide / "007.png"
    content = frame.read_bytes()
    if message is None:  # it vanishes while the clip is being read, which is one frame ahead
        monkeypatch.setattr("slimevid.run.frame_loop.write_mask", _removing(frame, f"{min(5, kept - 1):03d}.png"))
        message = "frame 7: no such file"
    else:
        damage(frame)
    assert command("--ref", tmp_path / "ref_0.png", *both) == 2
    text = one_line()
    assert message in text
    assert "frame 7" in text
    assert "007.png" in text
    assert f"{kept} of 12 frames are done and kept; mend it and run again with --resume" in text
    assert masks(tmp_path) == [f"{i:03d}.png" for i in range(kept)]
    assert all(read_mask(p).labels.shape == (48, 64) for p in (tmp_path / "out" / "masks").iterdir())
    assert json.loads((tmp_path / "out" / "report.json").read_text())["status"] == "stopped"
    frame.write_bytes(content)
    monkeypatch.undo()
    assert command("--ref", tmp_path / "ref_0.png", *both, "--resume") == 0
    assert json.loads((tmp_path / "out" / "report.json").read_text())["labelled"]["by_this_run"] == 12 - kept
    found = read_results(tmp_path / "out", *KINDS)
    assert found == expected


def _removing(frame, after):
    from slimecore.io.masks import write_mask

    def write(path, labels):
        write_mask(path, labels)
        if path.name == after:
            frame.unlink()

    return write


def full_disk(*_arguments, **_options):
    raise OSError(errno.ENOSPC, "No space left on device")


def after(calls, real):
    """Return a function that fails with a full disk after a number of calls."""
    left = [calls]

    def call(*arguments, **options):
        left[0] -= 1
        return real(*arguments, **options) if left[0] >= 0 else full_disk()

    return call


@pytest.mark.parametrize("calls", [0, 1, 2, 4, 9, 13, 16, 17, 18, 19])
def test_full_disk_at_any_file_resumable(command, tmp_path, one_line, read_results, monkeypatch, calls):
    """A run stopped by a full disk at any file can be resumed.

    Files fail in order. From then on all fail, even the note of the failure.
    """
    expected = whole_run(command, tmp_path, read_results)
    import pathlib

    monkeypatch.setattr(pathlib.Path, "write_bytes", after(calls, pathlib.Path.write_bytes))
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 2
    assert "No space left on device" in one_line()
    monkeypatch.undo()
    assert all(read_mask(tmp_path / "out" / "masks" / name).labels.any() for name in masks(tmp_path))
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 0
    assert read_results(tmp_path / "out", *KINDS) == expected


def test_full_disk_names_frame(command, tmp_path, one_line, monkeypatch):
    """A full disk is reported with the frame that could not be written."""
    import pathlib

    real = pathlib.Path.write_bytes

    def write(path, data):
        return full_disk() if "005" in path.name else real(path, data)

    monkeypatch.setattr(pathlib.Path, "write_bytes", write)
    assert command("--ref", tmp_path / "ref_0.png") == 2
    text = one_line()
    assert text.startswith("slimevid: frame 5: cannot write ")
    assert "5 of 12 frames are done" in text
    assert masks(tmp_path) == [f"{i:03d}.png" for i in range(5)]


@pytest.mark.parametrize("owner", ["scores", "overlay", "log"])
def test_full_disk_at_appended_file_resumable(command, tmp_path, one_line, read_results, monkeypatch, owner):
    """A run stopped by a full disk at the scores, the overlay or the frame log can be resumed."""
    expected = whole_run(command, tmp_path, read_results)
    if owner == "scores":
        real = ScoreWriter.write
        left = [6]

        def write(self, rows):
            left[0] -= 1
            self._file = self._file if left[0] >= 0 else _Full(self._file)
            real(self, rows)

        monkeypatch.setattr(ScoreWriter, "write", write)
    elif owner == "overlay":
        monkeypatch.setattr("av.VideoFrame.from_ndarray", after(5, av.VideoFrame.from_ndarray))
    else:
        monkeypatch.setattr("slimevid.run.frame_checksums.FrameLog.note", after(5, lambda *_: None))
    status = command("--ref", tmp_path / "ref_0.png")
    text = one_line()
    assert status == (1 if owner == "log" else 2)  # the log's own conversion of errors is passed over here
    assert "No space left" in text
    assert owner == "log" or "frame 5" in text
    monkeypatch.undo()
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 0
    assert read_results(tmp_path / "out", *KINDS) == expected


class _Full:
    write = staticmethod(full_disk)

    def __init__(self, file):
        self.close = file.close


# Video files


@pytest.mark.parametrize(
    ("codec", "number", "good"),
    [("mjpeg", 1, 0), ("mjpeg", 7, 0), ("mjpeg", 11, 0), ("libx264", 6, 0), ("libx264", 6, 50)],
)
def test_corrupt_video_frame_named(slide, tmp_path, disc, one_line, read_results, codec, number, good):
    """A corrupt frame of a video file is named, and the run can be resumed with the mended file.

    A coded image is overwritten from its `good`-th byte on: decoders drop it, fail, or hide the damage.
    """
    if codec not in av.codecs_available:
        pytest.skip("this PyAV has no such encoder")
    video = encode_disc(tmp_path / "clip.mkv", disc, codec)
    assert run_video(tmp_path, video, out="whole") == 0
    content = video.read_bytes()
    with av.open(str(video)) as container:
        packets = [bytes(p) for p in container.demux(video=0) if p.size]
    at, size = content.index(packets[number]) + good, len(packets[number]) - good
    assert size > 0
    video.write_bytes(content[:at] + bytes(size) + content[at + size :])
    assert run_video(tmp_path, video) == 2
    text = one_line()
    assert f"frame {number} cannot be decoded" in text
    assert f"{number} of 12 frames are done and kept" in text
    assert masks(tmp_path) == [f"{i:05d}.png" for i in range(number)]
    video.write_bytes(content)
    assert run_video(tmp_path, video, "--resume") == 0
    assert read_results(tmp_path / "out", *KINDS) == read_results(tmp_path / "whole", *KINDS)


def test_changed_stream_size_named(slide, tmp_path, disc, one_line):
    """A frame at which the size of a stream changes is named.

    Two coded streams of different sizes follow each other, as some recorders write them.
    """
    first, second = tmp_path / "a.mjpeg", tmp_path / "b.mjpeg"
    pictures = []
    for path, size in ((first, (64, 48)), (second, (80, 60))):
        for i in range(5):
            rgb = np.asarray(Image.fromarray(disc(i)[0]).resize(size))
            Image.fromarray(rgb).save(path.with_suffix(".jpg"), quality=95)
            pictures.append(path.with_suffix(".jpg").read_bytes())
    video = tmp_path / "clip.mjpeg"
    video.write_bytes(b"".join(pictures))
    assert len(open_clip(video)) == 10
    assert run_video(tmp_path, video) == 2
    text = one_line()
    assert "frame 5 is 80x60, the clip is 64x48" in text
    assert "5 of 10 frames are done" in text
    assert len(masks(tmp_path)) == 5


def test_resumed_run_writes_whole_overlay(command, slide, tmp_path, capsys):
    """The overlay of a resumed run holds all frames."""
    broken = slide / "004.png"
    content = broken.read_bytes()
    broken.write_bytes(content[:40])
    assert command("--ref", tmp_path / "ref_0.png") == 2
    assert not (tmp_path / "out" / "overlay.mp4").exists()
    broken.write_bytes(content)
    assert command("--ref", tmp_path / "ref_0.png", "--resume") == 0
    assert len(open_clip(tmp_path / "out" / "overlay.mp4")) == COUNT
