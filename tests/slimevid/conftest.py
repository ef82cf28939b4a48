"""Clips of a sliding disc, and the command on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slimecore.io.masks import write_mask
from slimevid import open_clip
from slimevid.cli import main
from slimevid.io import Clip

COUNT, STEP = 12, 4


@pytest.fixture
def disc(two_tone) -> Callable[[int], tuple[np.ndarray, np.ndarray]]:
    """Image (48, 64, 3) and mask 0/1 of a frame: the two-tone disc at half size, sliding."""
    rgb, mask = (array[::2, ::2] for array in two_tone)
    return lambda i: (np.roll(rgb, STEP * i, 1), np.roll(mask, STEP * i, 1))


@pytest.fixture
def slide(tmp_path: Path, disc) -> Path:
    """Twelve frames, and beside them their masks ``ref_<i>.png`` of part 1."""
    folder = tmp_path / "slide"
    folder.mkdir()
    for i in range(COUNT):
        Image.fromarray(disc(i)[0]).save(folder / f"{i:03d}.png")
        write_mask(tmp_path / f"ref_{i}.png", disc(i)[1])
    return folder


@pytest.fixture
def clip_of_a_disc(two_tone, tmp_path: Path) -> Callable[[int, int], tuple[Clip, np.ndarray]]:
    """``draw(count, step)``: frames of a disc that slides by `step` columns a frame, and its first mask."""
    rgb, mask = two_tone

    def draw(count: int, step: int) -> tuple[Clip, np.ndarray]:
        for i in range(count):
            Image.fromarray(np.roll(rgb, step * i, 1)).save(tmp_path / f"{i:03d}.png")
        return open_clip(tmp_path), mask

    return draw


@pytest.fixture
def command(tmp_path: Path, slide: Path) -> Callable[..., int]:
    """``slimevid run`` on the sliding disc by flow alone, into ``out``; arguments are added."""

    def run(*arguments: object, out: str = "out", propagator: str = "flow_warp") -> int:
        base = ["run", slide, "--out", tmp_path / out, "--propagator", propagator, "--quiet"]
        small = ["--size", 64, "--set", "mask_size=48", "--set", "learn.steps=5", "--set", "learn.views.count=1"]
        return main([str(a) for a in (*base, *small, *arguments)])

    return run


@pytest.fixture
def one_line(capsys: pytest.CaptureFixture[str]) -> Callable[[], str]:
    """Standard error, which must be a single line."""

    def read() -> str:
        text = capsys.readouterr().err
        assert text.count("\n") == 1, text
        assert "Traceback" not in text
        return text

    return read


def contents(folder: Path, *kinds: str) -> dict[str, bytes]:
    """Bytes of result files by name."""
    found = {}
    for kind in kinds or ("masks", "scores.csv", "config.yaml", "run.json"):
        for path in sorted((folder / kind).iterdir()) if (folder / kind).is_dir() else [folder / kind]:
            found[str(path.relative_to(folder))] = path.read_bytes()
    return found


@pytest.fixture
def read_results() -> Callable[..., dict[str, bytes]]:
    return contents
