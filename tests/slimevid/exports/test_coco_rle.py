"""The COCO export."""

from __future__ import annotations

import json

import numpy as np

from slimecore.io.masks import read_mask, write_mask
from slimecore.io.rle import decode_rle
from slimevid.exports import Results, coco_rle
from slimevid.io import open_clip


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
    coco_rle.write(Results(tmp_path / "masks", tmp_path / "coco_rle.json", clip, range(12), parts))
    content = json.loads((tmp_path / "coco_rle.json").read_text())
    assert content["annotations"] == []
    assert len(content["images"]) == 12
