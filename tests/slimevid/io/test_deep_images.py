"""Pictures of more than 8 bits: one scale for all frames."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from slimevid.io import open_clip


def write_gray(folder: Path, bits: int, suffix: str = "tif", peaks: tuple[float, ...] = (0.5, 1.0, 0.9)) -> Path:
    """Write frames of a sensor of so many bits, whose brightest pixels reach `peaks` of its range."""
    folder.mkdir()
    ramp = np.linspace(0, 1, 64)[None].repeat(8, 0)
    for i, peak in enumerate(peaks):
        values = (ramp * peak * (2**bits - 1)).round().astype(np.uint16)
        Image.fromarray(values).save(folder / f"{i}.{suffix}")
    return folder


@pytest.mark.parametrize("suffix", ["tif", "png"])
@pytest.mark.parametrize("bits", [10, 12, 14, 16])
def test_sensor_bits_have_one_scale(tmp_path: Path, bits: int, suffix: str) -> None:
    """The fewest bits that hold every frame give white, in both directions."""
    clip = open_clip(write_gray(tmp_path / "f", bits, suffix))
    brightest = [int(frame.rgb.max()) for frame in clip.read(0, 3)]
    assert brightest == [128, 255, 230] or brightest == [127, 255, 229]
    assert [int(frame.rgb.max()) for frame in clip.read_reversed(0, 3)] == brightest[::-1]
    assert len(np.unique(next(clip.read(0, 1)).rgb)) == 64
    said = (
        () if bits == 16 else (f"{tmp_path / 'f'}: frames of more than 8 bits: {2**bits - 1} is white in all of them",)
    )
    assert clip.notes == said


def test_dark_frames_do_not_flicker(tmp_path: Path) -> None:
    """Frames just below and above 255 keep their relation."""
    clip = open_clip(write_gray(tmp_path / "f", 16, peaks=(250 / 65535, 270 / 65535)))
    dark, bright = (float(frame.rgb.mean()) for frame in clip.read(0, 2))
    assert bright / dark == pytest.approx(270 / 250, abs=0.03)


def test_deep_colors_have_one_scale(tmp_path: Path) -> None:
    """Colours of 12 bits in files of 16 keep their shades and their order."""
    ramp = np.linspace(0, 4095, 64).round().astype(np.uint16)[None].repeat(8, 0)
    for name in ("0.png", "1.tif"):
        cv2.imwrite(str(tmp_path / name), np.dstack([ramp // 4, ramp // 2, ramp]))  # OpenCV takes blue first
    for frame in open_clip(tmp_path).read(0, 2):
        assert len(np.unique(frame.rgb[..., 0])) == 64
        assert [int(v) for v in frame.rgb[0, -1]] == [255, 127, 64]
