"""Every format: face order and count are the file's, whatever is in it; scenes, materials, texture files, odd faces."""

from __future__ import annotations

import json

import numpy as np
import pytest
import trimesh
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from slime3d.cli import main
from slime3d.io.mesh import load_mesh
from slimecore.io.masks import write_mask
from tests.slime3d.shapes import FORMATS, export_mesh

pytestmark = pytest.mark.usefixtures("small_sheets")


@st.composite
def soups(draw):
    """Faces over few vertices: shared, doubled, folded, without area, and vertices at one place or of no face."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    vertices = rng.uniform(-5, 5, (draw(st.integers(4, 12)), 3)).round(2)
    vertices[-1] = vertices[0]
    faces = rng.integers(0, len(vertices), (draw(st.integers(1, 40)), 3))
    faces[0] = 0, 1, 2
    if len(faces) > 3:
        faces[2], faces[3] = faces[1], faces[1][::-1]
    return trimesh.Trimesh(vertices, faces, process=False, validate=False)


@pytest.mark.parametrize("kind", FORMATS)
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(soups())
def test_face_order_kept_in_every_format(tmp_path, kind, shape):
    """Face order and count never change."""
    mesh = load_mesh(export_mesh(shape, tmp_path, kind))
    assert len(mesh.faces) == len(shape.faces)
    np.testing.assert_allclose(mesh.vertices[mesh.faces], shape.vertices[shape.faces], atol=1e-5)


@pytest.mark.parametrize("kind", FORMATS)
def test_labels_follow_file_face_order(tmp_path, kind):
    """Labels and parts follow the faces of the file.

    From file to labels and back: the faces that a mask shows keep its value, in every format.
    """
    shape = trimesh.util.concatenate([trimesh.creation.box((2, 1, 1)), trimesh.creation.icosphere(2, 0.8)])
    shape.apply_translation([3, 1, -2])
    order = np.random.default_rng(5).permutation(len(shape.faces))
    shape = trimesh.Trimesh(shape.vertices, shape.faces[order], process=False)
    path = export_mesh(shape, tmp_path, kind)
    views, out = tmp_path / "v", tmp_path / "o"
    assert main(["render", str(path), "--out", str(views), "--views", "4", "--size", "96"]) == 0
    ids = np.load(views / "view_000.faces.npy")
    truth = np.where(order < 12, 3, 8)  # the box, the ball
    write_mask(tmp_path / "m.png", np.where(ids >= 0, truth[ids], 0))
    command = ["run", str(path), "--ref", str(tmp_path / "m.png"), "--views", "4", "--size", "96", "--quiet"]
    assert main([*command, "--set", "turntable_frames=0", "--out", str(out)]) == 0
    labels = np.load(out / "face_labels.npy")
    assert len(labels) == len(truth)
    seen = np.unique(ids)[1:]
    np.testing.assert_array_equal(labels[seen], truth[seen])
    assert (labels == truth).mean() > 0.9
    parts = load_mesh(out / "segmented.glb")
    for name, value in (("part 3", 3), ("part 8", 8)):
        faces = parts.faces[parts.node == parts.node_names.index(name)]
        corners = shape.vertices[shape.faces[labels == value]]
        np.testing.assert_allclose(parts.vertices[faces], corners, atol=1e-4)


def test_textured_node_tree_is_single_mesh(tmp_path):
    """A tree of nodes with textures is a single mesh."""
    box, ball = trimesh.creation.box(), trimesh.creation.icosphere(1)
    tones = ((250, 10, 10), (10, 10, 250))
    for shape, tone in zip((box, ball), tones, strict=True):
        image = Image.fromarray(np.full((4, 4, 3), tone, np.uint8))
        shape.visual = trimesh.visual.TextureVisuals(uv=np.full((len(shape.vertices), 2), 0.5), image=image)
    scene = trimesh.Scene()
    scene.add_geometry(box, node_name="base", geom_name="box")
    turn = trimesh.transformations.rotation_matrix(np.pi / 2, [0, 0, 1])
    scene.add_geometry(ball, node_name="top", geom_name="ball", parent_node_name="base",
                       transform=trimesh.transformations.translation_matrix([5, 0, 0]))  # fmt: skip
    scene.graph.update("base", matrix=turn)
    for kind in ("glb", "gltf"):
        folder = tmp_path / kind
        folder.mkdir()
        path = folder / f"s.{kind}"
        if kind == "glb":
            scene.export(path)
        else:
            for name, data in trimesh.exchange.gltf.export_gltf(scene).items():
                (path if name == "model.gltf" else folder / name).write_bytes(data)
        mesh = load_mesh(path)
        assert len(mesh.faces) == 12 + 80
        assert set(mesh.node_names) == {"base", "top"}
        joined = trimesh.load_scene(path, process=False).to_geometry()  # what other users of trimesh see
        np.testing.assert_allclose(mesh.vertices[mesh.faces], joined.vertices[joined.faces], atol=1e-9)
        assert len(mesh.appearance.images) == 2
        top = mesh.node == mesh.node_names.index("top")
        np.testing.assert_allclose(mesh.middles()[top].mean(0), [0, 5, 0], atol=1e-6)
        assert mesh.appearance.images[mesh.appearance.texture[top][0]][0, 0].tolist() == list(tones[1])
    ids_out, labels_out = tmp_path / "v", tmp_path / "o"
    assert main(["render", str(path), "--out", str(ids_out), "--views", "2", "--size", "64"]) == 0
    ids = np.load(ids_out / "view_000.faces.npy")
    write_mask(tmp_path / "m.png", np.where(ids >= 0, np.where(top[ids], 2, 1), 0))
    command = ["run", str(path), "--ref", str(tmp_path / "m.png"), "--views", "2", "--size", "64", "--quiet"]
    assert main([*command, "--set", "turntable_frames=0", "--out", str(labels_out)]) == 0
    entry = json.loads((labels_out / "labels.json").read_text())
    spans = {n["name"]: slice(n["first"], n["first"] + n["faces"]) for n in entry["nodes"]}
    assert set(entry["labels"][spans["top"]]) == {2}
    assert set(entry["labels"][spans["base"]]) == {1}


def test_obj_materials_and_textures_read(tmp_path):
    """An OBJ with materials and texture files is read."""
    Image.fromarray(np.full((2, 2, 3), (9, 200, 9), np.uint8)).save(tmp_path / "leaf.png")
    (tmp_path / "m.mtl").write_text("newmtl leaf\nmap_Kd leaf.png\nnewmtl bark\nKd 0.5 0.25 0\n")
    places = "".join(f"v {i % 3} {i // 3} 0\nvt {i % 3 / 2} {i // 3 / 2}\n" for i in range(9))
    quads = [("leaf", "1/1 2/2 5/5 4/4"), ("bark", "2 3 6 5"), ("leaf", "4/4 5/5 8/8"), ("bark", "5 6 9")]
    (tmp_path / "m.obj").write_text(
        "mtllib m.mtl\n" + places + "".join(f"usemtl {name}\nf {corners}\n" for name, corners in quads)
    )
    mesh = load_mesh(tmp_path / "m.obj")
    assert len(mesh.faces) == 6  # a quad is two triangles, in its place
    assert (mesh.appearance.texture >= 0).tolist() == [True, True, False, False, True, False]
    assert mesh.appearance.images[0][0, 0].tolist() == [9, 200, 9]
    assert mesh.notes == ("m.obj: 2 polygons are cut into triangles where they stand; labels count triangles",)
    (tmp_path / "leaf.png").unlink()
    mesh = load_mesh(tmp_path / "m.obj")
    assert len(mesh.faces) == 6
    assert len(mesh.notes) == 2


def test_gltf_missing_texture_noted_buffer_refused(tmp_path, capsys):
    """A glTF with a missing texture is read with a note, with a missing buffer it is refused."""
    shape = trimesh.creation.box()
    image = Image.fromarray(np.full((4, 4, 3), 90, np.uint8))
    shape.visual = trimesh.visual.TextureVisuals(uv=np.zeros((8, 2)), image=image)
    files = trimesh.exchange.gltf.export_gltf(trimesh.Scene(shape))
    document = json.loads(files.pop("model.gltf"))
    document["images"] = [{"uri": "gone.png"}]
    for name, data in files.items():
        (tmp_path / name).write_bytes(data)
    path = tmp_path / "m.gltf"
    path.write_text(json.dumps(document))
    out = tmp_path / "v"
    assert main(["render", str(path), "--out", str(out), "--views", "2", "--size", "32"]) == 0
    assert capsys.readouterr().err.count("note:") == 1
    assert (out / "view_001.png").is_file()
    document["buffers"] = [{**b, "uri": f"gone{i}.bin"} for i, b in enumerate(document["buffers"])]
    path.write_text(json.dumps(document))
    assert main(["info", str(path)]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_obj_seams_keep_texture_coordinates(tmp_path):
    """Seams of an OBJ keep both texture coordinates, and runs of materials do not multiply vertices.

    Two triangles share an edge but not in the texture. Then a thousand runs share a set of vertices.
    """
    (tmp_path / "m.mtl").write_text("newmtl a\nKd 1 0 0\nnewmtl b\nKd 0 1 0\n")
    corners = "v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\n"
    coordinates = "vt 0.1 0.1\nvt 0.2 0.1\nvt 0.2 0.2\nvt 0.7 0.7\nvt 0.8 0.8\nvt 0.7 0.9\n"
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "t.png")
    (tmp_path / "t.mtl").write_text("newmtl a\nmap_Kd t.png\n")
    (tmp_path / "m.obj").write_text(f"mtllib t.mtl\n{corners}{coordinates}usemtl a\nf 1/1 2/2 3/3\nf 1/4 3/5 4/6\n")
    mesh = load_mesh(tmp_path / "m.obj")
    expected = [[[0.1, 0.1], [0.2, 0.1], [0.2, 0.2]], [[0.7, 0.7], [0.8, 0.8], [0.7, 0.9]]]
    np.testing.assert_allclose(mesh.appearance.uv, expected, atol=1e-6)
    np.testing.assert_array_equal(mesh.vertices[mesh.faces][1], [[0, 0, 0], [1, 1, 0], [0, 1, 0]])
    shape = trimesh.creation.icosphere(subdivisions=3)
    runs = [f"usemtl {'ab'[i % 2]}\nf {' '.join(map(str, f + 1))}\n" for i, f in enumerate(shape.faces[:1000])]
    places = "".join(f"v {x} {y} {z}\n" for x, y, z in shape.vertices)
    (tmp_path / "runs.obj").write_text(f"mtllib m.mtl\n{places}{''.join(runs)}")
    mesh = load_mesh(tmp_path / "runs.obj")
    np.testing.assert_allclose(mesh.vertices[mesh.faces], shape.vertices[shape.faces[:1000]], atol=1e-6)
    assert len(mesh.vertices) <= 3000
    assert mesh.appearance.colors[:4, 0].tolist() == [[255, 0, 0], [0, 255, 0]] * 2


MIXED = [[0, 1, 4, 3], [1, 2, 4], [3, 4, 7, 6], [4, 5, 8], [4, 8, 7], [0, 3, 6, 7, 8, 5, 2]]


@pytest.mark.parametrize("polygons", [MIXED, [MIXED[0], MIXED[2]], [MIXED[5]] * 2], ids=["mixed", "quads", "large"])
@pytest.mark.parametrize("kind", ["obj", "off", "ply"])
def test_polygons_triangulated_in_place(tmp_path, kind, polygons):
    """Polygons are triangulated in place."""
    places = [(i % 3, i // 3, 0) for i in range(9)]
    lines = [" ".join(map(str, p)) for p in places]
    text = {
        "obj": "".join(f"v {p}\n" for p in lines) + "".join(f"f {' '.join(str(c + 1) for c in p)}\n" for p in polygons),
        "off": f"OFF\n9 {len(polygons)} 0\n" + "\n".join(lines + [" ".join(map(str, [len(p), *p])) for p in polygons]),
        "ply": "ply\nformat ascii 1.0\nelement vertex 9\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(polygons)}\nproperty list uchar int vertex_indices\nend_header\n"
        + "\n".join(lines + [" ".join(map(str, [len(p), *p])) for p in polygons])
        + "\n",
    }[kind]
    (tmp_path / f"m.{kind}").write_text(text)
    mesh = load_mesh(tmp_path / f"m.{kind}")
    expected = [[p[0], p[i], p[i + 1]] for p in polygons for i in range(1, len(p) - 1)]
    found = (mesh.vertices[mesh.faces] @ [1, 3, 0]).round().astype(int)
    assert [sorted(f) for f in found.tolist()] == [sorted(f) for f in expected]
    assert len(mesh.notes) == (0 if kind == "obj" and polygons is MIXED else 1)
    quads = trimesh.geometry.triangulate_quads(np.array([[0, 1, 2, 3], [4, 5, 6, 7]]))
    assert quads.tolist()[1] == [4, 5, 6]  # trimesh has its own function back


def test_16_bit_grey_texture_read(tmp_path):
    """A grey texture of 16 bits is not black and white."""
    quad = trimesh.Trimesh([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], [[0, 1, 2], [0, 2, 3]], process=False)
    grey = Image.fromarray(np.full((4, 4), 30000, np.uint16))
    uv = [[0, 0], [1, 0], [1, 1], [0, 1]]
    quad.visual = trimesh.visual.TextureVisuals(uv, image=Image.new("RGB", (4, 4)))
    quad.export(tmp_path / "m.obj")
    (picture,) = tmp_path.glob("*.png")
    grey.save(picture)
    (pixels,) = load_mesh(tmp_path / "m.obj").appearance.images
    assert (pixels == 30000 >> 8).all()
