"""Scores against naive implementations, and matching of files and parts."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from slime3d.cli import main
from slime3d.evaluation import evaluate, match_files, rand_index, score_labels

LABELS = arrays(np.int64, 12, elements=st.integers(0, 3))
TRUTHS = arrays(np.int64, 12, elements=st.integers(-1, 3)).filter(lambda a: (a >= 0).sum() > 1)
AREAS = arrays(np.float64, 12, elements=st.floats(0.1, 9))


@settings(max_examples=60, deadline=None)
@given(LABELS, TRUTHS, AREAS)
def test_iou_and_best_match_match_naive(predicted, truth, areas):
    """IoU and best match follow their definitions."""

    def iou(p, t):
        both = either = 0.0
        for a, b, area in zip(predicted, truth, areas, strict=True):
            if b >= 0:
                both += area * (a == p and b == t)
                either += area * (a == p or b == t)
        return both / either if either else 0.0

    found, best = score_labels(predicted, truth, areas)
    parts = sorted(set(truth[truth >= 0].tolist()))
    assert list(found) == parts
    for part in parts:
        assert found[part] == pytest.approx(iou(part, part))
    expected = np.mean([max(iou(p, t) for p in range(4)) for t in parts])
    assert best == pytest.approx(expected)


@settings(max_examples=60, deadline=None)
@given(LABELS, TRUTHS, AREAS)
def test_rand_index_counts_pairs(predicted, truth, areas):
    """The Rand index counts pairs."""
    known = np.flatnonzero(truth >= 0)
    agree = [
        (predicted[i] == predicted[j]) == (truth[i] == truth[j]) for i, j in itertools.combinations(known.tolist(), 2)
    ]
    assert rand_index(predicted, truth) == pytest.approx(np.mean(agree))
    weight = same = 0.0
    for i, j in itertools.product(known.tolist(), repeat=2):
        weight += areas[i] * areas[j]
        same += areas[i] * areas[j] * ((predicted[i] == predicted[j]) == (truth[i] == truth[j]))
    assert rand_index(predicted, truth, areas) == pytest.approx(same / weight)


def test_best_match_ignores_part_names():
    """Perfect labels score 1 whatever their values are."""
    truth = np.array([0, 0, 1, 2, -1])
    assert score_labels(truth, truth, np.ones(5)) == ({0: 1.0, 1: 1.0, 2: 1.0}, 1.0)
    renamed, best = score_labels(truth + 5, truth, np.ones(5))
    assert set(renamed.values()) == {0.0}
    assert best == rand_index(truth + 5, truth) == 1.0


def test_parts_matched_by_name_then_value(tmp_path):
    """Parts are matched by name, then by value."""
    truth = tmp_path / "t.labels.json"
    truth.write_text('{"parts": ["body", "wheel"], "labels": [0, 0, 1, 1]}')
    named = tmp_path / "labels.json"
    parts = [{"value": 3, "name": "wheel"}, {"value": 9, "name": "body"}, {"value": 1, "name": "other"}]
    named.write_text(json.dumps({"parts": parts, "labels": [9, 1, 3, 3]}))
    score = evaluate(named, truth, None, "t")
    assert score.iou_count == {"body": 0.5, "wheel": 1.0}
    assert score.miou_area is score.rand_area is None
    np.save(tmp_path / "p.npy", np.array([1, 1, 2, 2]))
    assert evaluate(tmp_path / "p.npy", truth, None, "t").miou_count == 1.0


def test_areas_from_mesh_beside_truth(tmp_path, cube, save, capsys):
    """Areas come from the mesh beside the truth."""
    save(cube, tmp_path / "cube.off")
    areas = cube.areas()
    labels = [0] * 6 + [1] * 6
    truth = {"mesh": "cube.off", "parts": ["a", "b"], "labels": labels}
    (tmp_path / "cube.labels.json").write_text(json.dumps(truth))
    predicted = np.array(labels) + 1
    predicted[5] = 2
    np.save(tmp_path / "p.npy", predicted)
    score = evaluate(tmp_path / "p.npy", tmp_path / "cube.labels.json", None, "cube")
    assert score.iou_area is not None
    assert score.iou_area["a"] == pytest.approx(areas[:5].sum() / areas[:6].sum())
    assert score.iou_count["b"] == pytest.approx(6 / 7)
    out = tmp_path / "s.json"
    assert main(["eval", str(tmp_path / "p.npy"), str(tmp_path / "cube.labels.json"), "--json", str(out)]) == 0
    assert json.loads(out.read_text())["mean"]["miou_area"] == pytest.approx(score.miou_area)
    assert f"{100 * score.miou_count:.2f}" in capsys.readouterr().out


def test_folders_matched_by_name(tmp_path, capsys):
    """Folders are matched by name."""
    (tmp_path / "t").mkdir()
    (tmp_path / "p" / "b").mkdir(parents=True)
    for name in "ab":
        (tmp_path / "t" / f"{name}.seg").write_text("0\n1\n")
    np.save(tmp_path / "p" / "a.npy", np.array([1, 2]))
    np.save(tmp_path / "p" / "b" / "face_labels.npy", np.array([1, 1]))
    assert main(["eval", str(tmp_path / "p"), str(tmp_path / "t")]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines] == ["mesh", "a", "b", "mean"]
    assert lines[1].split()[2] == "100.00"
    assert lines[2].split()[2] == "25.00"
    (tmp_path / "p" / "a.npy").unlink()
    assert main(["eval", str(tmp_path / "p"), str(tmp_path / "t")]) == 2
    assert "nothing for a" in capsys.readouterr().err


def test_nested_folders_matched_by_path(tmp_path, capsys):
    """Folders of folders are matched by path."""
    for kind, name in (("cars", "a"), ("cups", "a")):
        (tmp_path / "t" / kind).mkdir(parents=True)
        (tmp_path / "p" / kind / name).mkdir(parents=True)
        (tmp_path / "t" / kind / f"{name}.seg").write_text("0\n1\n")
        np.save(tmp_path / "p" / kind / name / "face_labels.npy", np.array([1, 1 + (kind == "cups")]))
    assert main(["eval", str(tmp_path / "p"), str(tmp_path / "t")]) == 0
    assert [line.split()[:3:2] for line in capsys.readouterr().out.splitlines()[1:]] == [
        ["cars/a", "25.00"], ["cups/a", "100.00"], ["mean", "62.50"]
    ]  # fmt: skip


def test_labels_of_other_mesh_refused(tmp_path, capsys):
    """Labels of another mesh are refused."""
    (tmp_path / "t.seg").write_text("0\n1\n")
    np.save(tmp_path / "p.npy", np.array([1, 2, 2]))
    assert main(["eval", str(tmp_path / "p.npy"), str(tmp_path / "t.seg")]) == 2
    assert "3 labels, but" in capsys.readouterr().err


def test_mesh_found_by_exact_name(tmp_path, capsys):
    """The mesh of a name is a mesh.

    Not the material or image beside it, nor a file that its name would match as a pattern.
    """
    for folder in ("truth", "found", "shapes"):
        (tmp_path / folder).mkdir()
    ball = trimesh.creation.icosphere(subdivisions=1)
    for name in ("chair", "chair[1]"):
        for folder in ("truth", "found"):
            np.save(tmp_path / folder / f"{name}.npy", np.arange(80) % 2)
        ball.export(tmp_path / "shapes" / f"{name}.obj")
    (tmp_path / "shapes" / "chair.mtl").write_text("newmtl a\n")
    (tmp_path / "shapes" / "chair.jpg").write_bytes(b"")
    truth, found, shapes = tmp_path / "truth", tmp_path / "found", tmp_path / "shapes"
    assert {pair[0]: pair[3].name for pair in match_files(found, truth, shapes)} == {
        "chair": "chair.obj",
        "chair[1]": "chair[1].obj",
    }
    arguments = ["eval", str(found), str(truth), "--mesh"]
    assert main([*arguments, str(shapes)]) == 0
    capsys.readouterr()
    for wrong in (tmp_path / "nosuchfolder", truth):
        assert main([*arguments, str(wrong)]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert "no mesh of the name chair" in error
