"""Face labels of text files and arrays."""

from __future__ import annotations

import numpy as np
import pytest

from slime3d.cli import main
from slime3d.io.label_files import LabelFile, read_label_file, vertex_to_face_labels
from slimecore.errors import InputError


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
