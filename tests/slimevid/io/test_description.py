"""What ``slimevid info`` says, and the frame that ``slimevid frame`` saves."""

from __future__ import annotations

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from slimevid.cli import main
from slimevid.io import open_clip
from slimevid.io.writers import open_overlay
from slimevid.references.mask_files import MaskRef, read_references
from tests.slimevid.io.rare_videos import two_films, with_cover, with_matrix
from tests.slimevid.io.videos import COUNT, picture


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Return a clip of 64x48 stored pixels that is shown as 91x48, turned upright by a quarter."""
    with av.open(str(tmp_path / "plain.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.sample_aspect_ratio = Fraction(64, 45)
        for i in range(3):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture(i), format="rgb24")))
        container.mux(stream.encode())
    return with_matrix(tmp_path / "plain.mp4", tmp_path / "wide.mp4", (0, 1, -1, 0))


def test_info_of_turned_wide_clip(wide: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Size, display shape, rotation, rate and frames are printed, and written as JSON."""
    assert main(["info", str(wide), "--json", str(tmp_path / "i.json")]) == 0
    content = json.loads((tmp_path / "i.json").read_text())
    said = {key: content[key] for key in ("frames", "width", "height", "display_width", "display_height", "fps")}
    assert said == {"frames": 3, "width": 48, "height": 64, "display_width": 34, "display_height": 64, "fps": 25.0}
    assert (content["pixel_shape"], content["rotation"]) == ("45:64", "90 degrees clockwise")
    assert content["colors"]["matrix"] == "not said"
    text = capsys.readouterr().out
    assert "  frames    3, 0.12 s at 25 frames/s\n" in text
    assert "  display   34x64 (pixels 45:64)\n" in text


def test_info_lists_streams(clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Covers and further films are listed, and the stream that is read is marked."""
    assert main(["info", str(with_cover(clips["h264.mp4"], tmp_path / "cover.mp4"))]) == 0
    text = capsys.readouterr().out
    assert "mjpeg 128x96 (a cover or preview)\n" in text
    assert "h264 64x48 (read)\n" in text
    assert main(["info", str(two_films(tmp_path / "two.mkv"))]) == 0
    said = capsys.readouterr()
    assert "  stream    1: video, ffv1 64x48 (read)\n" in said.out
    assert said.err.startswith("note: ")


def test_info_of_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A folder of frames has no coding and no streams."""
    Image.fromarray(picture(0)).save(tmp_path / "0.png")
    assert main(["info", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "  size      64x48, masks have this size\n" in text
    assert "coding" not in text


def test_saved_frame_equals_clip(clips: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The saved frame is the clip's frame of that number, turned upright."""
    path = with_matrix(clips["h264.mp4"], tmp_path / "m.mp4", (-1, 0, 0, 1))
    assert main(["frame", str(path), "7", "--out", str(tmp_path / "f.png")]) == 0
    assert np.array_equal(np.array(Image.open(tmp_path / "f.png")), next(open_clip(path).read(7, 8)).rgb)
    assert f"frame 7 of {COUNT}, 64x48; draw its mask, --ref 7=MASK" in capsys.readouterr().out


@pytest.mark.parametrize("number", ["-1", "40", "99999999999999999999"])
def test_frame_out_of_range_refused(clips: dict[str, Path], tmp_path: Path, number: str, one_line) -> None:
    """A number out of range is one line, and nothing is written."""
    assert main(["frame", str(clips["h264.mp4"]), number, "--out", str(tmp_path / "f.png")]) == 2
    assert one_line() == f"slimevid: there is no frame {number}: h264 has frames 0..39\n"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("out", "why"), [("f.jpg", "frames are saved as PNG"), ("f.png", "would change the clip"), ("x/f.png", "x")]
)
def test_wrong_output_of_frame_refused(tmp_path: Path, out: str, why: str, one_line) -> None:
    """Another format, the clip's own folder, and a folder that is not there are refused."""
    Image.fromarray(picture(0)).save(tmp_path / "0.png")
    assert main(["frame", str(tmp_path), "0", "--out", str(tmp_path / out)]) == 2
    assert why in one_line()
    assert [path.name for path in tmp_path.iterdir()] == ["0.png"]


def test_mask_drawn_as_shown_fits(wide: Path, tmp_path: Path) -> None:
    """A mask drawn on the saved frame of an anamorphic clip fits, where it was drawn."""
    assert main(["frame", str(wide), "0", "--out", str(tmp_path / "f.png")]) == 0
    shown = np.zeros(np.array(Image.open(tmp_path / "f.png")).shape[:2], np.uint8)
    assert shown.shape == (64, 34)
    shown[16:48, 17:] = 1
    Image.fromarray(shown).save(tmp_path / "m.png")
    clip = open_clip(wide)
    references = read_references([MaskRef(tmp_path / "m.png")], clip, None, None)
    expected = np.zeros((64, 48), bool)
    expected[16:48, 24:] = True
    assert np.array_equal(references.items[0].annotation.rows > 0, expected)
    assert "fitted to 48x64" in references.notes[0]


def test_overlay_keeps_display_shape(wide: Path, tmp_path: Path) -> None:
    """The overlay of an anamorphic clip has its pixel shape."""
    with open_overlay(tmp_path / "o.mp4", open_clip(wide), 1) as video:
        video.write(np.zeros((64, 48, 3), np.uint8))
    with av.open(str(tmp_path / "o.mp4")) as container:
        assert container.streams.video[0].sample_aspect_ratio == Fraction(45, 64)
