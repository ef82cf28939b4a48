"""Picture files with several pages as clips."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slimevid.io import open_clip
from tests.slimevid.io.videos import picture, refusal, same


def write_pages(path: Path, count: int = 30, **options) -> Path:
    """Write a picture file with numbered pages."""
    pages = [Image.fromarray(picture(i)) for i in range(count)]
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)
    return path


@pytest.mark.parametrize(
    ("name", "options", "fps"),
    [("s.tif", {}, 24), ("s.webp", {"lossless": True, "duration": 80}, 12.5), ("s.png", {"duration": 40}, 25)],
)
def test_every_page_is_a_frame(tmp_path: Path, name: str, options: dict, fps: float) -> None:
    """Every page is a frame, in both directions, at the file's own rate."""
    clip = open_clip(write_pages(tmp_path / name, **options))
    whole = list(clip.read(0, 30))
    assert (len(clip), clip.name, clip.size, float(clip.fps)) == (30, "s", (48, 64), fps)
    assert all(np.array_equal(frame.rgb, picture(frame.index)) for frame in whole)
    assert all(map(same, clip.read_reversed(2, 29, 3), whole[2:29:3][::-1]))


def test_deep_stack_has_one_scale(tmp_path: Path) -> None:
    """The pages of a deep stack share one scale."""
    pages = [Image.fromarray(np.full((6, 9), value, np.uint16)) for value in (200, 1000, 4000)]
    pages[0].save(tmp_path / "s.tif", save_all=True, append_images=pages[1:])
    clip = open_clip(tmp_path / "s.tif")
    assert [int(frame.rgb[0, 0, 0]) for frame in clip.read(0, 3)] == [12, 62, 249]
    assert clip.notes == (f"{tmp_path / 's.tif'}: frames of more than 8 bits: 4095 is white in all of them",)


def test_stack_in_folder_noted(tmp_path: Path) -> None:
    """A stack among frames is named, because only its first page is a frame."""
    write_pages(tmp_path / "0.tif", 3)
    (note,) = open_clip(tmp_path).notes
    assert note.endswith("0.tif holds 3 pictures, only its first is a frame; give the file itself as the clip")


def test_smaller_copies_are_no_frames(tmp_path: Path) -> None:
    """Pages that are marked as smaller copies are no frames, in a stack and among frames."""
    path = tmp_path / "s.tif"
    small = Image.new("RGB", (16, 12))
    small.encoderinfo = {"tiffinfo": {254: 1}}
    pages = [small, Image.fromarray(picture(1))]
    pages[1].encoderinfo = {"tiffinfo": {254: 0}}
    Image.fromarray(picture(0)).save(path, save_all=True, append_images=pages)
    clip = open_clip(path)
    assert len(clip) == 2
    assert all(np.array_equal(frame.rgb, picture(frame.index)) for frame in clip.read(0, 2))


def test_page_of_other_size_named(tmp_path: Path) -> None:
    """A page of another size is named."""
    Image.new("RGB", (9, 6)).save(tmp_path / "s.tif", save_all=True, append_images=[Image.new("RGB", (8, 6))])
    assert "frame 1 is 8x6, the clip is 9x6" in refusal(tmp_path / "s.tif")


def test_broken_picture_refused(tmp_path: Path) -> None:
    """A broken picture file is refused."""
    (tmp_path / "s.tif").write_bytes(b"II*\0 no picture")
    assert "cannot read" in refusal(tmp_path / "s.tif")
