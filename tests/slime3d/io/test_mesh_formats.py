"""Face order and count equal those of the file in every format, scenes and missing files included."""

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
