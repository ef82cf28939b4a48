"""Figures against naive twins, and every kind of label file."""

from __future__ import annotations

import contextlib
import itertools
import json

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from slime3d.cli import main
from slime3d.evaluation import evaluate, match_files, rand_index, score_labels
from slime3d.io.label_files import LabelFile, read_label_file, vertex_to_face_labels
from slimecore.errors import InputError

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


@pytest.mark.parametrize(
    ("name", "text", "values", "names"),
    [
        ("a.seg", "0\n0\n2\n", [1, 1, 3], {}),
        ("a.txt", "1 0 -1", [2, 1, -1], {}),
        ("a.labels.json", '{"parts": ["body", "wheel"], "labels": [0, 1, -1]}', [1, 2, -1], {1: "body", 2: "wheel"}),
        ("labels.json", '{"parts": [{"value": 7, "name": "leg"}], "labels": [0, 7]}', [0, 7], {7: "leg"}),
        ("v.json", '["leg", "arm", "leg"]', [2, 1, 2], {1: "arm", 2: "leg"}),
        ("v.json", "[0, 1, 1]", [1, 2, 2], {}),
    ],
)
def test_label_text_files_read(tmp_path, name, text, values, names):
    """Text files of labels are read."""
    path = tmp_path / name
    path.write_text(text)
    file = read_label_file(path)
    assert file.values.tolist() == values
    assert dict(file.names) == names


def test_label_arrays_read(tmp_path):
    """Arrays of labels are read."""
    np.save(tmp_path / "ours.npy", np.array([0, 5, 5], np.int32))
    np.save(tmp_path / "partnete.npy", np.array([-1, 0, 1]))
    np.save(tmp_path / "objects.npy", np.array({"semantic_seg": 1}, dtype=object), allow_pickle=True)
    np.save(tmp_path / "floats.npy", np.zeros(3))
    assert read_label_file(tmp_path / "ours.npy").values.tolist() == [0, 5, 5]
    assert read_label_file(tmp_path / "partnete.npy").values.tolist() == [-1, 1, 2]
    with pytest.raises(InputError, match="one integer a face"):
        read_label_file(tmp_path / "objects.npy")
    with pytest.raises(InputError, match="one integer a face"):
        read_label_file(tmp_path / "floats.npy")


@pytest.mark.parametrize(
    ("name", "text"), [("a.seg", "0\nx\n"), ("a.seg", ""), ("a.json", "{}"), ("a.json", "nonsense"), ("gone", None)]
)
def test_other_files_error_single_line(tmp_path, name, text, capsys):
    """Other files are refused in a single line."""
    path = tmp_path / name
    if text is not None:
        path.write_text(text)
    np.save(tmp_path / "t.npy", np.zeros(3, int))
    with pytest.raises(InputError):
        read_label_file(path)
    assert main(["eval", str(path), str(tmp_path / "t.npy")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_vertex_labels_become_corner_majority():
    """Labels of vertices become the majority of a face's corners."""
    faces = np.array([[0, 1, 2], [1, 2, 3], [0, 2, 3]])
    file = vertex_to_face_labels(LabelFile(np.array([1, 2, 2, 3]), {}), faces, 4, "x")
    assert file.values.tolist() == [2, 2, 1]
    with pytest.raises(InputError, match="5 labels, but the mesh has 3 faces, 4 vertices"):
        vertex_to_face_labels(LabelFile(np.arange(5), {}), faces, 4, "x")


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


@pytest.mark.parametrize("kind", [np.int8, np.int32, np.int64, np.uint16, ">i4"])
def test_partnet_e_labels_read_without_pickle(tmp_path, kind):
    """PartNet-E labels are read without executing them."""
    last = -1 if np.dtype(kind).kind == "i" else 7
    labels = {"semantic_seg": np.array([0, 2, last], kind), "instance_seg": np.ones(300, int)}
    np.save(tmp_path / "label.npy", labels, allow_pickle=True)
    expected = [1, 3, -1] if last < 0 else [0, 2, 7]
    assert read_label_file(tmp_path / "label.npy").values.tolist() == expected


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_object_arrays_of_every_protocol(tmp_path, protocol):
    """Object arrays of every pickle protocol are read."""
    import importlib
    import io

    unsafe = importlib.import_module("pickle")  # writes what the reader reads; the package itself never uses it
    value = {
        "semantic_seg": np.arange(-1, 400),
        "names": ["a", None, True, 3, 70000, (1, 2)],
        "more": {"x": np.arange(3)},
    }
    holder = np.array(None, object)
    holder[()] = value
    buffer = io.BytesIO()
    np.lib.format.write_array_header_1_0(buffer, np.lib.format.header_data_from_array_1_0(holder))
    (tmp_path / "a.npy").write_bytes(buffer.getvalue() + unsafe.dumps(holder, protocol))
    from slime3d.io.object_arrays import read_object_array

    found = read_object_array(tmp_path / "a.npy")
    np.testing.assert_array_equal(found["semantic_seg"], value["semantic_seg"])
    assert found["names"] == ["a", None, True, 3, 70000, [1, 2]]
    assert found["more"]["x"].tolist() == [0, 1, 2]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 2**32 - 1))
def test_damaged_object_array_raises_input_error(tmp_path, seed):
    """Damaged object arrays raise an input error and no other."""
    rng = np.random.default_rng(seed)
    np.save(tmp_path / "d.npy", {"semantic_seg": np.arange(40), "names": [1, "x"]}, allow_pickle=True)
    data = bytearray((tmp_path / "d.npy").read_bytes())
    for place in rng.integers(128, len(data), rng.integers(1, 4)):
        data[place] = rng.integers(0, 256)
    (tmp_path / "d.npy").write_bytes(data[: rng.integers(128, len(data)) if seed % 3 == 0 else None])
    with contextlib.suppress(InputError):
        assert read_label_file(tmp_path / "d.npy").values.dtype == np.int64


def test_object_array_with_call_refused(tmp_path):
    """Object arrays that would call a function are refused."""

    class Evil:
        def __reduce__(self):
            return (print, ("called",))

    for value in ({"semantic_seg": Evil()}, {"semantic_seg": np.zeros(3)}, {"other": np.arange(3)}, Evil(), {1, 2}):
        np.save(tmp_path / "x.npy", np.array(value, dtype=object), allow_pickle=True)
        with pytest.raises(InputError, match="semantic_seg"):
            read_label_file(tmp_path / "x.npy")


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
