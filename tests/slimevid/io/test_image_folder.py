"""Folders of images as clips."""

import re
from pathlib import Path

import numpy as np
from PIL import Image

from slimevid.io import open_clip
from tests.slimevid.io.videos import picture, refusal, same


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
