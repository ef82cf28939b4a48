"""Part of a clip, and the further forms results come in."""

from __future__ import annotations

import csv
import json
from fractions import Fraction

import numpy as np
import pytest
from PIL import Image

from slimecore.io.images import read_rgb
from slimecore.io.masks import read_mask, write_mask
from slimecore.io.rle import decode_rle
from slimevid.exports import Results, coco_rle
from slimevid.io import open_clip, read_range
from slimevid.io.writers import ScoreWriter, sort_scores


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


@pytest.mark.parametrize("frames", [range(0, 40, 3), range(2, 39), range(37, 4, -5), range(39, -1, -1)])
def test_video_read_with_stride_both_ways(tmp_path, frames):
    """Video files are read with a stride in both directions."""
    from slimevid.io.writers import OverlayWriter

    with OverlayWriter(tmp_path / "v.mp4", (32, 48), Fraction(24), crf=1) as video:
        for i in range(40):
            video.write(np.full((32, 48, 3), 6 * i, np.uint8))
    found = list(read_range(open_clip(tmp_path / "v.mp4"), frames))
    assert [f.index for f in found] == list(frames)
    assert all(abs(float(f.rgb.mean()) - 6 * f.index) < 3 for f in found)


def test_rgba_cutouts_match_masks(command, slide, tmp_path):
    """RGBA cut-outs match the masks."""
    assert command("--ref", tmp_path / "ref_0.png", "--export", "rgba", "--stride", 4) == 0
    files = sorted((tmp_path / "out" / "rgba").iterdir())
    assert [p.name for p in files] == ["000.png", "004.png", "008.png"]
    for path in files:
        rgba = np.asarray(Image.open(path))
        inside = read_mask(tmp_path / "out" / "masks" / path.name).labels > 0
        assert rgba.shape == (48, 64, 4)
        assert np.array_equal(rgba[..., 3], np.where(inside, 255, 0))
        assert np.array_equal(rgba[inside][:, :3], read_rgb(slide / path.name)[inside])
        assert not rgba[~inside].any()


def test_coco_dataset_matches_masks(command, slide, tmp_path, disc):
    """A COCO data set matches the masks."""
    marked = disc(0)[1].copy()
    marked[2:9, 2:9] = 7
    write_mask(tmp_path / "two.png", marked)
    (tmp_path / "names.json").write_text('{"7": "Füße"}')
    options = ["--export", "coco-rle", "--names", tmp_path / "names.json", "--drop", "5=7", "--start", 1]
    assert command("--ref", tmp_path / "two.png", *options, propagator="copy") == 0
    content = json.loads((tmp_path / "out" / "coco_rle.json").read_text(encoding="utf-8"))
    assert content["categories"] == [{"id": 1, "name": "part 1"}, {"id": 7, "name": "Füße"}]
    assert [i["id"] for i in content["images"]] == list(range(1, 12))
    assert content["images"][0] == {"id": 1, "file_name": "001.png", "height": 48, "width": 64, "frame": 1}
    ids = [a["id"] for a in content["annotations"]]
    assert ids == list(range(1, len(ids) + 1))
    for image in content["images"]:
        labels = read_mask(tmp_path / "out" / "masks" / image["file_name"]).labels
        own = [a for a in content["annotations"] if a["image_id"] == image["id"]]
        assert [a["category_id"] for a in own] == ([1, 7] if image["id"] < 5 else [1])
        for a in own:
            mask = decode_rle(a["segmentation"])
            assert np.array_equal(mask, labels == a["category_id"])
            assert a["area"] == mask.sum()
            x, y, w, h = a["bbox"]
            assert mask[y : y + h, x : x + w].sum() == a["area"]
            assert mask[y].any()
            assert mask[:, x + w - 1].any()
            assert mask[:, x].any()
            assert mask[y + h - 1].any()


def test_coco_dataset_without_masks_valid(slide, tmp_path):
    """A clip without any part gives a valid COCO data set."""
    clip = open_clip(slide)
    (tmp_path / "masks").mkdir()
    for stem in clip.stems():
        write_mask(tmp_path / "masks" / f"{stem}.png", np.zeros((48, 64), int))
    from slimecore.types import Parts

    parts = Parts((0, 3), ("background", "x"), ((0, 0, 0), (1, 1, 1)))
    coco_rle.write(Results(tmp_path, clip, range(12), parts))
    content = json.loads((tmp_path / "coco_rle.json").read_text())
    assert content["annotations"] == []
    assert len(content["images"]) == 12


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
