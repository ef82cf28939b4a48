"""Parts learned on an image, transferred to a mesh."""

from __future__ import annotations

import json

import numpy as np

from slime3d.cli import main
from slimecore.cli import main as slime
from slimecore.io.masks import write_mask

SMALL = ["--views", "4", "--size", "96"]


def test_learned_parts_transfer_to_mesh(done, other, tmp_path):
    """Parts learned on an image are segmented on rendered views."""
    path, truth = other
    views = done.parent / "views"
    ids = np.load(views / "view_000.faces.npy")
    labels = np.load(done / "face_labels.npy")
    write_mask(tmp_path / "wheels.png", np.where(ids >= 0, labels[ids], 0))
    parts = tmp_path / "parts.safetensors"
    quick = ["--set", "probe.steps=60", "--set", "probe.views.count=2", "--quiet"]
    assert slime(["learn", str(views / "view_000.png"), str(tmp_path / "wheels.png"), "--out", str(parts), *quick]) == 0
    out = tmp_path / "moved"
    assert main(["transfer", str(parts), str(path), "--out", str(out), *SMALL, "--quiet"]) == 0
    found = np.load(out / "van" / "face_labels.npy")
    assert set(np.unique(found)) <= {1, 2, 5}  # what the picture calls background is no part of a mesh
    entry = json.loads((out / "van" / "labels.json").read_text())
    assert 0 < sum(entry["seen"]) <= len(truth)
    assert (found == 2)[truth == 2].mean() > (found == 2)[truth != 2].mean()
