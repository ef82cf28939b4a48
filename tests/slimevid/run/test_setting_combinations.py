"""Random settings on small clips, labelled whole and stopped."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

import slimevid.run.frame_loop as execution
from slimecore.io.masks import read_mask, write_mask
from slimevid.cli import main

SIZES = ((5, 8), (14, 40), (33, 64), (64, 48))
SETTINGS = {
    "max_zoom": (1, 2, 5),
    "keyframe_interval": (1, 2, 3),
    "bidirectional_span": (0, 3),
    "flow_size": (32, 96),
    "mask_size": (32, 96),
    "learn.tokens": (1, 4),
    "memory.recent_frames": (0, 1, 3),
    "memory.write_interval": (1, 2),
    "memory.grid_upsampling": (1, 3),
    "memory.keys_per_frame": (0, 1, 100),
    "memory.key_dims": (0, 1, 500),
    "fusion.appearance_weight": (0, 0.15),
    "fusion.appearance_interval": (1, 2),
    "fusion.background_motion_weight": (0, 1),
    "fusion.search_radius": (0, 0.1),
    "fusion.color_weight": (0, 0.3),
    "fusion.refinement_limit": (0, 4),
    "fusion.guided_filter_radius": (0, 8),
}


def _clip(folder, size, parts, rng):
    """Write six frames of discs that move over noise, and the mask of the first."""
    ground, places = rng.integers(0, 255, (*size, 3), np.uint8), rng.random((parts, 2)) * size
    y, x = np.mgrid[: size[0], : size[1]]
    folder.mkdir()
    for frame in range(6):
        rgb, mask = ground.copy(), np.zeros(size, np.uint8)
        for part, (cy, cx) in enumerate(places, start=1):
            inside = (y - cy) ** 2 + (x - cx - frame) ** 2 <= (min(size) / 4) ** 2
            rgb[inside], mask[inside] = (60 * part, 200, 30), part
        Image.fromarray(rgb).save(folder / f"{frame}.png")
        if frame == 0:
            write_mask(folder.parent / "ref.png", mask)
    return set(np.unique(read_mask(folder.parent / "ref.png").labels))


@pytest.mark.parametrize("seed", range(10))
def test_random_settings_give_all_masks(seed, tmp_path, monkeypatch, read_results):
    """Under random settings every frame gets a mask, and a stopped run resumes to the same masks."""
    rng = np.random.default_rng(seed)
    known = _clip(tmp_path / "clip", SIZES[rng.integers(len(SIZES))], int(rng.integers(1, 5)), rng)
    chosen = {name: values[rng.integers(len(values))] for name, values in SETTINGS.items() if rng.random() < 0.4}
    command = ["run", str(tmp_path / "clip"), "--ref", str(tmp_path / "ref.png"), "--quiet", "--size", "64"]
    command += ["--set", "learn.steps=2", *(word for k, v in chosen.items() for word in ("--set", f"{k}={v}"))]
    assert main([*command, "--out", str(tmp_path / "whole")]) == 0
    masks = [read_mask(tmp_path / "whole" / "masks" / f"{frame}.png").labels for frame in range(6)]
    assert all(set(np.unique(mask)) <= known for mask in masks)

    written = []

    def stopped(path, labels):
        written.append(path)
        if len(written) == 2 + seed % 4:
            raise KeyboardInterrupt
        write_mask(path, labels)

    monkeypatch.setattr(execution, "write_mask", stopped)
    assert main([*command, "--out", str(tmp_path / "stopped")]) == 130
    monkeypatch.undo()
    assert main([*command, "--out", str(tmp_path / "stopped"), "--resume"]) == 0
    assert read_results(tmp_path / "stopped", "masks") == read_results(tmp_path / "whole", "masks")
