"""Pictures as players show them: turned, mirrored, in their colours."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from slimevid.io import open_clip
from slimevid.io.display import display_size
from tests.slimevid.io.rare_videos import with_matrix
from tests.slimevid.io.videos import COUNT

MATRICES = {
    "none": ((1, 0, 0, 1), lambda rgb: rgb),
    "90": ((0, 1, -1, 0), lambda rgb: np.rot90(rgb, -1)),
    "180": ((-1, 0, 0, -1), lambda rgb: np.rot90(rgb, 2)),
    "270": ((0, -1, 1, 0), lambda rgb: np.rot90(rgb, 1)),
    "mirrored": ((-1, 0, 0, 1), lambda rgb: rgb[:, ::-1]),
    "flipped": ((1, 0, 0, -1), lambda rgb: rgb[::-1]),
    "transposed": ((0, 1, 1, 0), lambda rgb: rgb.swapaxes(0, 1)),
    "transverse": ((0, -1, -1, 0), lambda rgb: rgb[::-1, ::-1].swapaxes(0, 1)),
}


@pytest.mark.parametrize("name", MATRICES)
def test_display_matrix_applied(clips: dict[str, Path], tmp_path: Path, name: str) -> None:
    """A display matrix turns and mirrors every frame, in both directions."""
    matrix, shown = MATRICES[name]
    clip, plain = open_clip(with_matrix(clips["h264.mp4"], tmp_path / "m.mp4", matrix)), open_clip(clips["h264.mp4"])
    for got, stored in zip(clip.read(0, COUNT), plain.read(0, COUNT), strict=True):
        assert np.array_equal(got.rgb, shown(stored.rgb))
    assert np.array_equal(next(clip.read_reversed(0, 3)).rgb, shown(next(plain.read(2, 3)).rgb))
    assert clip.size == shown(next(plain.read(0, 1)).rgb).shape[:2]


@pytest.mark.parametrize("matrix", [None, 1, 6])
def test_high_definition_colors_read(tmp_path: Path, matrix: int | None) -> None:
    """Colours of HD films are read as they are tagged, and as BT.709 if they are not."""
    color = (200, 60, 30)
    with av.open(str(tmp_path / "hd.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "1"})
        stream.width, stream.height, stream.pix_fmt = 1280, 720, "yuv420p"
        image = av.VideoFrame.from_ndarray(np.full((720, 1280, 3), color, np.uint8), format="rgb24")
        if matrix:
            stream.codec_context.colorspace = matrix
        image = image.reformat(format="yuv420p", dst_colorspace=5 if matrix == 6 else 1)
        container.mux([*stream.encode(image), *stream.encode()])
    (frame,) = open_clip(tmp_path / "hd.mp4").read(0, 1)
    assert np.abs(frame.rgb[300, 300].astype(int) - color).max() <= 4


@pytest.mark.parametrize(
    ("shape", "size"), [(Fraction(1), (96, 160)), (Fraction(64, 45), (96, 228)), (Fraction(1280, 1279), (96, 160))]
)
def test_display_size_has_square_pixels(shape: Fraction, size: tuple[int, int]) -> None:
    """The display size keeps the height; a shape that is nearly square is square."""
    assert display_size((96, 160), shape) == size
