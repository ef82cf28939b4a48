"""Loading meshes: every face, in the file's order, and one clear line when that cannot be."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from slime3d.cli import main
from slime3d.mesh import load_mesh
from slimecore.errors import InputError

CLOUD = """ply
format ascii 1.0
element vertex 2
property float x
property float y
property float z
end_header
0 0 0
1 1 1
"""


@pytest.fixture
def cube():
    return trimesh.creation.box((1, 2, 3))


@pytest.mark.parametrize("suffix", [".obj", ".ply", ".off", ".glb"])
def test_faces_keep_order_and_count(cube, tmp_path, suffix):
    path = tmp_path / f"cube{suffix}"
    cube.export(path)
    mesh = load_mesh(path)
    np.testing.assert_allclose(mesh.vertices[mesh.faces], cube.vertices[cube.faces], atol=1e-6)


def test_duplicate_and_degenerate_faces_are_kept(tmp_path):
    path = tmp_path / "odd.off"
    path.write_text("OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 0\n3 0 1 2\n3 0 1 2\n3 0 0 1\n3 3 1 2\n")
    mesh = load_mesh(path)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 1, 2], [0, 0, 1], [3, 1, 2]]
    assert mesh.areas().tolist() == [0.5, 0.5, 0.0, 0.5]
    assert mesh.welded()[3] == mesh.welded()[0]


def test_a_scene_s_nodes_are_placed_and_named(tmp_path, cube):
    scene = trimesh.Scene()
    scene.add_geometry(cube, node_name="left")
    scene.add_geometry(cube, node_name="right", transform=trimesh.transformations.translation_matrix([5, 0, 0]))
    scene.export(tmp_path / "two.glb")
    mesh = load_mesh(tmp_path / "two.glb")
    assert len(mesh.faces) == 24
    right = mesh.faces[mesh.node == mesh.node_names.index("right")]
    assert mesh.vertices[right].reshape(-1, 3)[:, 0].min() == pytest.approx(4.5)


def test_welding_joins_split_vertices(tmp_path, cube):
    split = trimesh.Trimesh(cube.vertices[cube.faces].reshape(-1, 3), np.arange(36).reshape(-1, 3), process=False)
    split.export(tmp_path / "split.ply")
    mesh = load_mesh(tmp_path / "split.ply")
    assert len(mesh.vertices) == 36
    assert len(np.unique(mesh.welded())) == 8


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("cloud.ply", CLOUD, "no faces"),
        ("nan.off", "OFF\n3 1 0\nnan 0 0\n1 0 0\n0 1 0\n3 0 1 2\n", "NaN"),
        ("inf.obj", "v inf 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n", "NaN or infinite"),
        ("index.obj", "v 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 9\n", "cannot be read as a mesh"),
        ("empty.ply", "", "cannot be read as a mesh"),
        ("empty.obj", "", "no faces"),
        ("zero.off", "OFF\n3 1 0\n0 0 0\n0 0 0\n0 0 0\n3 0 1 2\n", "all vertices are equal"),
        ("junk.glb", "not a mesh", "cannot be read as a mesh"),
        ("what.xyzzy", "", "cannot be read as a mesh"),
    ],
)
def test_bad_meshes_are_one_line_and_status_2(tmp_path, capsys, name, text, message):
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_mesh(path)
    assert main(["info", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_info_says_what_a_mesh_holds(tmp_path, cube, capsys):
    cube.export(tmp_path / "cube.glb")
    assert main(["info", str(tmp_path / "cube.glb")]) == 0
    text = capsys.readouterr().out
    assert "faces     12 (0 without area)" in text
    assert "1 x 2 x 3" in text


def test_an_obj_with_interleaved_materials_keeps_its_face_order(tmp_path):
    path = tmp_path / "t.obj"
    corners = "".join(f"v {i} {i * i} 0\n" for i in range(7))
    faces = "".join(f"usemtl {'AB'[i % 2]}\nf {i + 1} {i + 2} {i + 3}\n" for i in range(5))
    path.write_text(corners + faces)
    mesh = load_mesh(path)
    assert mesh.vertices[mesh.faces][:, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_a_long_obj_with_objects_and_materials_keeps_its_face_order(tmp_path):
    path = tmp_path / "t.obj"
    corners = "".join(f"v {i} {i * i} 0\n" for i in range(42))
    lines = []
    for i in range(40):
        lines += [f"o thing{i}"] if i % 7 == 0 else []
        lines += [f"usemtl {'ABC'[i % 3]}"] if i % 2 else []
        lines.append(f"f {i + 1} {i + 2} {i + 3}")
    faces = "\n".join(lines) + "\n"
    path.write_text(corners + faces)
    mesh = load_mesh(path)
    assert mesh.vertices[mesh.faces][:, 0, 0].tolist() == list(range(40))
