"""Loading meshes: every face in the order of the file, and errors in a single line."""

from __future__ import annotations

import base64
import json
import os

import numpy as np
import pytest
import trimesh

from slime3d.cli import main
from slime3d.io.mesh import load_mesh
from slime3d.run.provenance import referenced_files
from slimecore.errors import InputError
from tests.slime3d.shapes import make_mesh

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
    """Faces keep order and count."""
    path = tmp_path / f"cube{suffix}"
    cube.export(path)
    mesh = load_mesh(path)
    np.testing.assert_allclose(mesh.vertices[mesh.faces], cube.vertices[cube.faces], atol=1e-6)


def test_duplicate_and_degenerate_faces_kept(tmp_path):
    """Duplicate and degenerate faces are kept."""
    path = tmp_path / "odd.off"
    path.write_text("OFF\n4 4 0\n0 0 0\n1 0 0\n0 1 0\n0 0 0\n3 0 1 2\n3 0 1 2\n3 0 0 1\n3 3 1 2\n")
    mesh = load_mesh(path)
    assert mesh.faces.tolist() == [[0, 1, 2], [0, 1, 2], [0, 0, 1], [3, 1, 2]]
    assert mesh.areas().tolist() == [0.5, 0.5, 0.0, 0.5]
    assert mesh.welded()[3] == mesh.welded()[0]


def test_scene_nodes_transformed_and_named(tmp_path, cube):
    """A scene's nodes are transformed and named."""
    scene = trimesh.Scene()
    scene.add_geometry(cube, node_name="left")
    scene.add_geometry(cube, node_name="right", transform=trimesh.transformations.translation_matrix([5, 0, 0]))
    scene.export(tmp_path / "two.glb")
    mesh = load_mesh(tmp_path / "two.glb")
    assert len(mesh.faces) == 24
    right = mesh.faces[mesh.node == mesh.node_names.index("right")]
    assert mesh.vertices[right].reshape(-1, 3)[:, 0].min() == pytest.approx(4.5)


def test_welding_joins_split_vertices(tmp_path, cube):
    """Welding joins split vertices."""
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
def test_invalid_mesh_error_single_line(tmp_path, capsys, name, text, message):
    """Invalid meshes are refused in a single line with status 2."""
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(InputError, match=message):
        load_mesh(path)
    assert main(["info", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_obj_interleaved_materials_keep_order(tmp_path):
    """An OBJ with interleaved materials keeps its face order."""
    path = tmp_path / "t.obj"
    corners = "".join(f"v {i} {i * i} 0\n" for i in range(7))
    faces = "".join(f"usemtl {'AB'[i % 2]}\nf {i + 1} {i + 2} {i + 3}\n" for i in range(5))
    path.write_text(corners + faces)
    mesh = load_mesh(path)
    assert mesh.vertices[mesh.faces][:, 0, 0].tolist() == [0, 1, 2, 3, 4]


def test_obj_objects_and_materials_keep_order(tmp_path):
    """A long OBJ with objects and materials keeps its face order."""
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


def test_unused_vertex_does_not_affect_welding():
    """A vertex without a face does not weld the others."""
    ball = trimesh.creation.icosphere(subdivisions=2)
    stray = np.concatenate([[[1e6, 0, 0]], ball.vertices])
    alone, beside = make_mesh(ball.vertices, ball.faces), make_mesh(stray, ball.faces + 1)
    assert np.array_equal(alone.welded()[alone.faces], beside.welded()[beside.faces])
    assert len(np.unique(beside.welded()[beside.faces])) == len(ball.vertices)


def test_mirrored_instance_keeps_winding(tmp_path):
    """A mirrored instance is not inside out.

    By the glTF specification a negative determinant turns the winding. Colours stay at their corners.
    """
    ball = trimesh.creation.icosphere(subdivisions=1)
    ball.visual.vertex_colors = np.random.default_rng(0).integers(0, 256, (len(ball.vertices), 4), np.uint8)
    scene = trimesh.Scene()
    scene.add_geometry(ball, "right", "ball", transform=trimesh.transformations.translation_matrix([3, 0, 0]))
    mirror = np.diag([-1.0, 1, 1, 1]) @ trimesh.transformations.translation_matrix([3, 0, 0])
    scene.graph.update(frame_to="left", matrix=mirror, geometry="ball")
    scene.export(tmp_path / "two.glb")
    mesh = load_mesh(tmp_path / "two.glb")
    for node in range(2):
        faces = mesh.node == node
        one = trimesh.Trimesh(mesh.vertices, mesh.faces[faces], process=False)
        assert one.volume == pytest.approx(ball.volume, rel=1e-6)
    tones = {tuple(place): set() for place in ball.vertices.round(4)}
    for corners, colors, node in zip(mesh.vertices[mesh.faces], mesh.appearance.colors, mesh.node, strict=True):
        mirrored = mesh.node_names[node] == "left"
        for place, color in zip(corners, colors, strict=True):
            own = place * [-1, 1, 1] if mirrored else place
            tones[tuple((own - [3, 0, 0]).round(4) + 0.0)].add(tuple(color))
    assert {len(found) for found in tones.values()} == {1}


def test_face_with_missing_vertex_refused(tmp_path, capsys):
    """A face with a vertex that does not exist is refused."""
    head = "ply\nformat ascii 1.0\nelement vertex 3\nproperty float x\nproperty float y\nproperty float z\n"
    head += "element face 1\nproperty list uchar int vertex_indices\nend_header\n0 0 0\n1 0 0\n0 1 0\n"
    for wrong in ("7", "-2"):
        (tmp_path / "m.ply").write_text(f"{head}3 0 1 {wrong}\n")
        assert main(["info", str(tmp_path / "m.ply")]) == 2
        error = capsys.readouterr().err
        assert error.count("\n") == 1
        assert f"a face has vertex {wrong}, there are 3; repair the mesh" in error


def primitives(path, modes):
    """A glTF of one mesh with a primitive of four vertices for every mode."""
    place = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], "<f4").tobytes()
    order = np.array([0, 1, 2, 0, 2, 3], "<u2").tobytes()
    data = base64.b64encode(place + order).decode()
    accessors = [
        {"bufferView": 0, "componentType": 5126, "count": 4, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]},
        {"bufferView": 1, "componentType": 5123, "count": 6, "type": "SCALAR"},
        {"bufferView": 1, "componentType": 5123, "count": 4, "type": "SCALAR"},
    ]
    drawn = [{"attributes": {"POSITION": 0}, "indices": 1 if mode == 4 else 2, "mode": mode} for mode in modes]
    document = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "nodes": [{"name": "board", "mesh": 0}],
        "meshes": [{"name": "board", "primitives": drawn}],
        "accessors": accessors,
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 48},
            {"buffer": 0, "byteOffset": 48, "byteLength": 12},
        ],
        "buffers": [{"byteLength": 60, "uri": f"data:application/octet-stream;base64,{data}"}],
    }
    path.write_text(json.dumps(document))
    return path


def test_primitives_numbered_fans_read(tmp_path):
    """Primitives of the same mesh are numbered, and triangle fans are read."""
    found = [load_mesh(primitives(tmp_path / "m.gltf", (4, 6, 4))) for _ in range(2)]
    assert [mesh.node_names for mesh in found] == [("board.0", "board.1", "board.2")] * 2
    assert found[0].notes == ()
    assert found[0].areas().tolist() == [0.5, 0.5, 0.5, 0, 0.5, 0.5]  # the fan returns to its first corner
    whole = load_mesh(primitives(tmp_path / "m.gltf", (4,)))
    assert (whole.node_names, whole.notes) == (("board",), ())


def test_corner_normals_match_naive(dumbbell):
    """Smoothed corner normals agree with the naive implementation."""
    corner, normals, areas = dumbbell.welded()[dumbbell.faces], dumbbell.normals(), dumbbell.areas()
    got = dumbbell.corner_normals(0.3)
    for face in range(0, len(normals), 37):
        for i in range(3):
            total = np.zeros(3)
            for other in np.flatnonzero((corner == corner[face, i]).any(1)):
                if normals[face] @ normals[other] >= np.cos(0.3):
                    total += areas[other] * normals[other]
            np.testing.assert_allclose(got[face, i], total / np.linalg.norm(total), atol=1e-9)


def test_special_file_beside_mesh_not_opened(tmp_path):
    """A material file that is a pipe is left out with a note, not waited for."""
    path = tmp_path / "mesh.obj"
    path.write_text("mtllib pipe\nusemtl a\nv 0 0 0\nv 1 0 0\nv 0 1 0\nf 1 2 3\n")
    os.mkfifo(tmp_path / "pipe")
    assert referenced_files(path) == []
    mesh = load_mesh(path)
    assert len(mesh.faces) == 1
    assert "unable to load materials from: pipe" in mesh.notes[0]
