"""Outputs of ``slimevid run``: parts of a clip, soft labels and no more than was requested."""

from __future__ import annotations

import csv
import json
from fractions import Fraction

import numpy as np
import pytest

from slimecore.io.masks import read_mask
from slimevid.io import open_clip


def masks(tmp_path, out="out"):
    return sorted(int(p.stem) for p in (tmp_path / out / "masks").iterdir())


@pytest.mark.parametrize(
    ("options", "frames"),
    [
        (["--start", 3], range(3, 12)),
        (["--end", 5], range(5)),
        (["--stride", 3], range(0, 12, 3)),
        (["--start", 2, "--end", 11, "--stride", 4], range(2, 11, 4)),
        (["--start", 11], range(11, 12)),
    ],
)
@pytest.mark.parametrize("ref", [0, 6])
def test_frame_range_labelled_at_clip_time(command, tmp_path, options, frames, ref):
    """Only the requested frames are labelled, and time in the overlay runs as in the clip."""
    assert command("--ref", f"{ref}={tmp_path / f'ref_{ref}.png'}", *options) == 0
    assert masks(tmp_path) == list(frames)
    overlay = open_clip(tmp_path / "out" / "overlay.mp4")
    assert len(overlay) == len(frames)
    assert overlay.fps == Fraction(24, frames.step)
    rows = list(csv.DictReader((tmp_path / "out" / "scores.csv").read_text().splitlines()))
    assert [int(r["frame"]) for r in rows] == list(frames)
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert report["frames"] == {"start": frames.start, "end": frames.stop, "stride": frames.step}
    assert report["labelled"]["frames"] == len(frames)
    assert bool(report["notes"]) == (ref < frames[0] or ref > frames[-1])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--start", 12], "--start 12 --end 12: no such frames, the clip has 0..11"),
        (["--start", -1], "no such frames"),
        (["--end", 13], "no such frames"),
        (["--start", 5, "--end", 5], "no such frames"),
        (["--stride", 0], "--stride must be 1 or more, got 0"),
        (["--export", "rgb"], "unknown export 'rgb'; choose rgba, coco-rle"),
    ],
)
def test_invalid_frame_range_or_export_refused(command, tmp_path, one_line, options, message):
    """Frame ranges outside the clip and unknown exports are refused."""
    assert command("--ref", tmp_path / "ref_0.png", *options) == 2
    assert message in one_line()
    assert not (tmp_path / "out").exists()


def test_soft_labels_agree_with_masks(command, tmp_path):
    """Soft labels agree with the masks."""
    assert command("--ref", f"2={tmp_path / 'ref_2.png'}", "--soft") == 0
    files = sorted((tmp_path / "out" / "soft").iterdir())
    assert len(files) == 12
    for path in files:
        soft = np.load(path)
        assert soft.shape == (2, 48, 64)
        assert soft.dtype == np.float16
        assert np.allclose(soft.astype(float).sum(0), 1, atol=2e-3)
        labels = read_mask(tmp_path / "out" / "masks" / f"{path.stem}.png").labels
        clear = np.abs(soft[0].astype(float) - 0.5) > 0.01
        assert np.array_equal((soft.argmax(0) == 1)[clear], (labels == 1)[clear])


def test_default_outputs_only(command, tmp_path):
    """Without further options only the default outputs are written."""
    assert command("--ref", tmp_path / "ref_0.png") == 0
    names = {p.name for p in (tmp_path / "out").iterdir()}
    assert names == {"masks", "overlay.mp4", "scores.csv", "config.yaml", "report.json", "run.json", ".frames.bin"}
