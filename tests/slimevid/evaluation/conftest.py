"""Small clips of masks on disk, and where the research-only data lies."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from slimecore.io.masks import write_mask

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture
def data() -> Path:
    """The evaluation data beside the checkout, or where SLIME_DATA says; never in the repository."""
    folder = Path(os.environ.get("SLIME_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "DAVIS").is_dir():
        pytest.skip("no evaluation data beside the checkout (set SLIME_DATA to its folder)")
    return folder


@pytest.fixture
def write():
    """``write(folder, masks, style)``: masks as 00000.png ...; style is indexed, L, or RGB."""

    def write(folder: Path, masks, style: str = "indexed", first: int = 0) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        for i, mask in enumerate(masks, first):
            path = folder / f"{i:05d}.png"
            if style == "indexed":
                write_mask(path, np.asarray(mask))
            else:
                Image.fromarray(np.asarray(mask).astype(np.uint8)).convert(style).save(path)
        return folder

    return write


@pytest.fixture
def clip():
    """``clip(frames, objects, seed)``: truth and result (frames, h, w) uint8, squares that drift; some frames empty."""

    def clip(frames: int, objects: int = 2, seed: int = 0, size: tuple[int, int] = (24, 34)):
        rng = np.random.default_rng(seed)
        sides = np.zeros((2, frames, *size), np.uint8)
        start = rng.integers(0, 18, (objects, 2))
        for t in range(frames):
            for side in range(2):
                for k in range(objects):
                    if t and rng.random() < 0.15:
                        continue
                    y, x = (start[k] + rng.integers(-3, 4, 2)).clip(0, (size[0] - 1, size[1] - 1))
                    h, w = rng.integers(1, 12, 2)
                    sides[side, t, y : y + h, x : x + w] = k + 1
        sides[0, 0, : objects + 1, 0] = np.arange(objects + 1)  # every object is in the first frame
        return sides[0], sides[1]

    return clip


@pytest.fixture
def davis(tmp_path, write):
    """``davis(year, {name: truth masks}, style)``: a DAVIS folder with a val split."""

    def davis(year: int, truths, style: str = "indexed", unsupervised: bool = False) -> Path:
        root = tmp_path / "DAVIS"
        (root / "ImageSets" / str(year)).mkdir(parents=True)
        (root / "ImageSets" / str(year) / "val.txt").write_text("\n".join(truths) + "\n")
        for name, masks in truths.items():
            write(root / ("Annotations_unsupervised" if unsupervised else "Annotations") / "480p" / name, masks, style)
        return root

    return davis


@pytest.fixture
def single(clip, davis):
    """A DAVIS-2016 folder of a single sequence, 0/255."""
    truth, result = clip(6, 1, 4)
    return davis(2016, {"a": truth * 255}, "L"), truth, result


@pytest.fixture
def scene(clip, davis, write, tmp_path):
    """A DAVIS folder of three sequences, results, and the copied first masks."""
    clips = {name: clip(7, 2, seed) for seed, name in enumerate(("one", "two", "three"))}
    root = davis(2017, {name: pair[0] for name, pair in clips.items()})
    for name, (truth, result) in clips.items():
        write(tmp_path / "r" / name, result)
        write(tmp_path / "copy" / name, [truth[0]] * 7)
    return root, tmp_path / "r", tmp_path / "copy"
