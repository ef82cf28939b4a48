"""``slime3d transfer`` from end to end, and invalid input in a single line."""

from __future__ import annotations

import json

import numpy as np
import trimesh

from slime3d.cli import main


def failure(capsys, *arguments):
    assert main([str(a) for a in arguments]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("slime3d: ")
    return lines[0]


def test_transfer_writes_labels_of_run(done, other, tmp_path, capsys):
    """Labels of a run are transferred to another mesh."""
    path, truth = other
    out = tmp_path / "moved"
    assert main(["transfer", str(done), str(path), "--out", str(out)]) == 0
    assert "place" in capsys.readouterr().out
    folder = out / "van"
    assert {p.name for p in folder.iterdir()} == {
        "config.yaml", "face_labels.npy", "labels.json", "labels.png", "report.json", "segmented.glb",
        "viewer.html"
    }  # fmt: skip
    labels = np.load(folder / "face_labels.npy")
    assert (labels == truth).mean() > 0.99
    entry = json.loads((folder / "labels.json").read_text())
    assert {p["name"]: p["value"] for p in entry["parts"]} == {"background": 0, "box": 1, "wheel": 2, "window": 5}
    assert entry["parts"][1]["color"] == json.loads((done / "labels.json").read_text())["parts"][1]["color"]
    report = json.loads((folder / "report.json").read_text())
    assert report["weights"]["place"] == 1
    assert report["weights"]["color"] > 0
    assert report["source"] == "out"


def test_nearest_baseline_is_method(done, other, tmp_path):
    """The nearest-point baseline is a method of its own."""
    path, truth = other
    out = tmp_path / "moved"
    assert main(["transfer", str(done), str(path), "--out", str(out), "--method", "nearest", "--quiet"]) == 0
    assert 0.2 < (np.load(out / "van" / "face_labels.npy") == truth).mean() < 0.95
    assert json.loads((out / "van" / "report.json").read_text())["settings"]["transfer"]["method"] == "nearest"


def test_bad_target_keeps_other_results(done, other, tmp_path, capsys):
    """A bad mesh leaves the others labelled."""
    path, _ = other
    (tmp_path / "bad.ply").write_text("no mesh")
    out = tmp_path / "moved"
    line = failure(capsys, "transfer", done, tmp_path / "bad.ply", path, "--out", out, "--quiet")
    assert "bad.ply" in line
    assert (out / "van" / "report.json").is_file()
    assert not (out / "bad").exists()


def test_invalid_sources_refused(done, other, tmp_path, capsys):
    """Invalid sources are refused."""
    path, _ = other
    out = tmp_path / "moved"
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    (lonely / "face_labels.npy").write_bytes((done / "face_labels.npy").read_bytes())
    for source, words in ((tmp_path / "none", "no such"), (lonely, "--source-mesh"), (other[0], "no face labels")):
        assert words in failure(capsys, "transfer", source, path, "--out", out)
    assert "labels" in failure(capsys, "transfer", lonely, path, "--out", out, "--source-mesh", _box(tmp_path))
    assert "no such mesh" in failure(capsys, "transfer", done, tmp_path / "none.ply", "--out", out)
    assert "no mesh in this folder" in failure(capsys, "transfer", done, lonely, "--out", out)
    assert "method" in failure(capsys, "transfer", done, path, "--out", out, "--method", "magic")
    assert not out.exists()


def _box(folder):
    path = folder / "box.off"
    trimesh.creation.box().export(path)
    return path
