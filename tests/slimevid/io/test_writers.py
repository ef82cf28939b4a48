"""Files written frame by frame: whole or not at all."""

from __future__ import annotations

import csv
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from slimecore.errors import OutputError
from slimevid.io import open_clip
from slimevid.io.writers import OverlayWriter, ScoreWriter, sort_scores


def frame(index: int, size: tuple[int, int]) -> np.ndarray:
    rgb = np.full((*size, 3), 60, np.uint8)
    rgb[:, : 4 + 3 * index] = (220, 120, 40)
    return rgb


@pytest.mark.parametrize("size", [(48, 64), (47, 64), (48, 63), (45, 67)])
@pytest.mark.parametrize("fps", [Fraction(24), Fraction(30000, 1001), Fraction(25, 2)])
def test_overlay_has_all_frames_at_rate(tmp_path: Path, size: tuple[int, int], fps: Fraction) -> None:
    """The overlay has every frame at its rate."""
    with OverlayWriter(tmp_path / "o.mp4", size, fps) as video:
        for i in range(7):
            video.write(frame(i, size))
        assert not (tmp_path / "o.mp4").exists()
    clip = open_clip(tmp_path / "o.mp4")
    assert len(clip) == 7
    assert clip.fps == fps
    assert clip.size == (size[0] + size[0] % 2, size[1] + size[1] % 2)
    for read in clip.read(0, 7):
        assert np.abs(read.rgb[: size[0], : size[1]].astype(int) - frame(read.index, size)).mean() < 12
    assert [p.name for p in tmp_path.iterdir()] == ["o.mp4"]


@pytest.mark.parametrize("written", [0, 1, 30])
def test_failure_leaves_no_file(tmp_path: Path, written: int) -> None:
    """A failure leaves no file."""

    def fail() -> None:
        with OverlayWriter(tmp_path / "o.mp4", (48, 64), Fraction(24)) as video:
            for i in range(written):
                video.write(frame(i % 9, (48, 64)))
            raise KeyError("stop")

    with pytest.raises(KeyError, match="stop"):
        fail()
    assert list(tmp_path.iterdir()) == []


def test_failure_keeps_earlier_overlay(tmp_path: Path) -> None:
    """A failure keeps the earlier overlay."""
    (tmp_path / "o.mp4").write_bytes(b"old")

    def fail() -> None:
        with OverlayWriter(tmp_path / "o.mp4", (48, 64), Fraction(24)) as video:
            video.write(frame(0, (48, 64)))
            raise KeyError("stop")

    with pytest.raises(KeyError):
        fail()
    assert (tmp_path / "o.mp4").read_bytes() == b"old"


def test_unwritable_path_is_output_error(tmp_path: Path) -> None:
    """An unwritable path is an output error."""

    def write() -> None:
        with OverlayWriter(tmp_path / "gone" / "o.mp4", (48, 64), Fraction(24)) as video:
            video.write(frame(0, (48, 64)))

    with pytest.raises(OutputError, match=r"cannot write .*o\.mp4"):
        write()
    with pytest.raises(OutputError, match=r"cannot write .*s\.csv"):
        ScoreWriter(tmp_path / "gone" / "s.csv")


def test_scores_flushed_every_frame(tmp_path: Path) -> None:
    """Scores are on disk after every frame."""
    path = tmp_path / "s.csv"

    def rows() -> list[list[str]]:
        with path.open(newline="", encoding="utf-8") as file:
            return list(csv.reader(file))

    row = (0, "00000", 1, "Füße, rechts", 1, "0.9000", "0.8000", 12)
    with ScoreWriter(path) as scores:
        scores.write([row, row])
        assert rows() == [list(ScoreWriter.header), [str(v) for v in row], [str(v) for v in row]]
        scores.write([row])
        assert len(rows()) == 4
    assert len(rows()) == 4
    assert rows()[0][:3] == ["frame", "name", "part"]


def test_scores_sorted_keeping_last_rows(tmp_path):
    """Scores are sorted by frame, and the last rows of a frame are kept."""
    path = tmp_path / "s.csv"
    with ScoreWriter(path) as scores:
        for frame, tag in ((3, "a"), (4, "a"), (2, "a"), (10, "a"), (3, "b"), (4, "b")):
            scores.write([(frame, "ü,\nü", part, tag, 1, 0, 0, 0) for part in (1, 2)])
    sort_scores(path)
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [(r["frame"], r["part"], r["part_name"]) for r in rows] == [
        (frame, part, tag) for frame, tag in (("2", "a"), ("3", "b"), ("4", "b"), ("10", "a")) for part in ("1", "2")
    ]
    assert rows[0]["name"] == "ü, ü"


def test_repeated_frame_keeps_last_rows(tmp_path):
    """The last rows are kept where a frame occurs twice in sequence.

    A correction begins with the very frame at which the scores ended.
    """
    path = tmp_path / "s.csv"
    with ScoreWriter(path) as scores:
        for frame, tag in ((1, "a"), (2, "a"), (2, "b"), (3, "b"), (3, "c")):
            scores.write([(frame, "x", part, tag, 1, 0, 0, 0) for part in (1, 2)])
    sort_scores(path)
    rows = list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))
    assert [(r["frame"], r["part"], r["part_name"]) for r in rows] == [
        (frame, part, tag) for frame, tag in (("1", "a"), ("2", "b"), ("3", "c")) for part in ("1", "2")
    ]


def test_scores_truncated_to_kept_size(tmp_path):
    """Scores are truncated to their kept size."""
    path = tmp_path / "s.csv"
    with ScoreWriter(path) as scores:
        scores.write([(0, "0", 1, "x", 1, 0, 0, 0)])
        size = scores.size
        scores.write([(1, "1", 1, "x", 1, 0, 0, 0)])
    with path.open("ab") as file:
        file.write(b"2,half a r")
    with ScoreWriter(path, size) as scores:
        scores.write([(7, "7", 1, "x", 1, 0, 0, 0)])
    assert [line.split(",")[0] for line in path.read_text().splitlines()] == ["frame", "0", "7"]


@pytest.mark.parametrize(("size", "matrix"), [((48, 64), 6), ((576, 704), 6), ((720, 1280), 1)])
def test_overlay_says_its_colors(tmp_path: Path, size: tuple[int, int], matrix: int) -> None:
    """The overlay is BT.709 if it is HD, else BT.601, says so, and shows the colours that were written."""
    color = np.array((200, 60, 30))
    with OverlayWriter(tmp_path / "o.mp4", size, Fraction(24), crf=1) as video:
        video.write(np.full((*size, 3), color, np.uint8))
    with av.open(str(tmp_path / "o.mp4")) as container:
        image = next(container.decode(video=0))
    assert (image.colorspace, image.color_primaries, image.color_trc, image.color_range) == (matrix, matrix, matrix, 1)
    y, u, v = (float(plane[20, 20]) for plane in image.reformat(format="yuv444p").to_ndarray())
    red, blue = (0.2126, 0.0722) if matrix == 1 else (0.299, 0.114)
    luma = (y - 16) / 219
    shown_red, shown_blue = luma + 2 * (1 - red) * (v - 128) / 224, luma + 2 * (1 - blue) * (u - 128) / 224
    assert np.abs(255 * np.array([shown_red, shown_blue]) - color[[0, 2]]).max() < 4


def test_overlay_in_folder_with_colon(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A relative folder with a colon in its name is no protocol."""
    (tmp_path / "take:1_slime").mkdir()
    monkeypatch.chdir(tmp_path)
    with OverlayWriter(Path("take:1_slime/o.mp4"), (48, 64), Fraction(24)) as video:
        video.write(frame(0, (48, 64)))
    assert len(open_clip("take:1_slime/o.mp4")) == 1
