"""Clips that can be read but are not whole."""

import re
from fractions import Fraction

import av
import numpy as np
import pytest

from slimevid.cli import main
from slimevid.io import open_clip
from slimevid.io.completeness import is_truncated, missing_numbers
from tests.slimevid.io.videos import encode_mjpeg


@pytest.mark.parametrize(
    ("stems", "expected"),
    [
        ([f"{i:05d}" for i in range(12) if i != 7], "frame 00007 is not there"),
        ([f"a_{i}" for i in range(8, 30) if i not in (9, 10)], "frames a_9, a_10 are not there"),
        ([f"{i:03d}" for i in range(0, 100, 5) if i != 35], "frame 035 is not there"),
        (
            [str(i) for i in range(90) if not 40 <= i < 48],
            "frames 40, 41, 42, 43, 44 and 3 more are not there",
        ),
    ],
)
def test_missing_numbers_named(stems, expected):
    """Missing numbers of frames are named."""
    assert missing_numbers(stems) == (expected,)


@pytest.mark.parametrize(
    "stems",
    [
        [f"{i:05d}" for i in range(12)],
        [str(i) for i in range(0, 50, 5)],
        [str(i) for i in (0, 3, 4, 9, 11, 30, 31)],  # picked by hand
        [str(2**i) for i in range(8)],
        [*map(str, range(9)), str(10**15)],  # two takes
        ["a1", "b1", "c1", "d1", "e1", "f2"],
        ["1", "2", "4"],
        ["one", "two", "three", "four", "five"],
        [*map(str, range(9)), "last"],
        [],
    ],
)
def test_irregular_numbers_not_reported(stems):
    """Nothing is reported as missing where numbers are complete or irregular."""
    assert missing_numbers(stems) == ()


@pytest.mark.parametrize(
    ("found", "announced", "said"),
    [
        ((40, Fraction(4)), (40, Fraction(4)), None),
        ((38, Fraction(4)), (40, Fraction(4)), None),
        ((37, Fraction(37, 10)), (40, Fraction(4)), "37 frames found, 40 announced"),
        ((30, Fraction(4)), (40, Fraction(4)), None),  # frames dropped on the way, none at the end
        ((985, None), (1000, None), None),
        ((979, None), (1000, None), "979 frames found, 1000 announced"),
        ((20, Fraction(2)), (0, Fraction(4)), "2.0 s found, 4.0 s announced"),
        ((20, Fraction(2)), (0, Fraction(5, 2)), None),
        ((20, Fraction(2)), (0, None), None),
        ((20, None), (0, Fraction(4)), None),
        ((20, Fraction(2)), (20, Fraction(4)), None),
    ],
)
def test_fewer_frames_than_announced_reported(found, announced, said):
    """Files that announce more frames than they hold are reported."""
    assert is_truncated(found, announced) == (() if said is None else (f"{said}; the file may be cut off",))


def test_truncated_file_noted(tmp_path, slide, disc, capsys):
    """A truncated file is reported in a note."""
    pictures = [np.roll(disc(i)[0], i, 0) for i in range(40)]
    video = encode_mjpeg(tmp_path / "clip.mkv", pictures)
    assert open_clip(video).notes == ()
    content = video.read_bytes()
    video.write_bytes(content[: len(content) // 2])
    (note,) = open_clip(video).notes
    assert re.fullmatch(r".*clip\.mkv: 0\.\d s found, 1\.6 s announced; the file may be cut off", note)
    arguments = ["--propagator", "flow_warp", "--set", "mask_size=48", "--out", tmp_path / "out"]
    assert main([str(a) for a in ("run", video, "--ref", tmp_path / "ref_0.png", *arguments)]) == 0
    assert f"note: {note}\n" in capsys.readouterr().err


def test_missing_folder_frame_named(slide):
    """A frame missing from a folder is named."""
    assert open_clip(slide).notes == ()
    (slide / "005.png").unlink()
    assert open_clip(slide).notes == (f"{slide}: frame 005 is not there",)


def test_prefetched_error_names_single_frame(slide, disc, tmp_path, one_line):
    """An error met while prefetching names a single frame.

    Frames between key frames wait for the next one. An error there is reported for that frame alone.
    """
    video = encode_mjpeg(tmp_path / "clip.mkv", [disc(i)[0] for i in range(6)])
    content = video.read_bytes()
    with av.open(str(video)) as container:
        packets = [bytes(packet) for packet in container.demux(video=0) if packet.size]
    video.write_bytes(content.replace(packets[2], bytes(len(packets[2]))))
    arguments = ["--size", 64, "--set", "mask_size=48", "--set", "learn.steps=2", "--preset", "fast", "--quiet"]
    whole = ["run", video, "--ref", tmp_path / "ref_0.png", "--out", tmp_path / "out", *arguments]
    assert main([str(a) for a in whole]) == 2
    text = one_line()
    assert text.startswith(f"slimevid: {video}: frame 2 cannot be decoded")
    assert "1 of 6 frames are done and kept" in text
