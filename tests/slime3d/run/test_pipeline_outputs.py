"""Outputs of ``slime3d run``: labels in file order, part files and kept textures."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from PIL import Image

from slime3d.cli import main
from slime3d.io.mesh import load_mesh
from slimecore.io.masks import write_mask
from tests.slime3d.shapes import FORMATS, export_mesh, grid

pytestmark = pytest.mark.usefixtures("small_sheets")


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


@pytest.mark.parametrize("kind", ["glb", "obj", "ply", "stl"])
def test_part_files_written_and_removed(tmp_path, cube, save, kind):
    """Part files hold the parts and are removed when part files are not requested again."""
    path = save(cube, tmp_path / "cube.ply")
    assert main(["render", str(path), "--out", str(tmp_path / "v"), "--views", "4", "--size", "64"]) == 0
    ids = np.load(tmp_path / "v" / "view_000.faces.npy")
    x = cube.middles()[:, 0]
    write_mask(tmp_path / "m.png", np.where(ids >= 0, np.where(x[ids] > 0, 2, 1), 0))
    (tmp_path / "n.json").write_text('{"1": "../left side", "2": "r/h"}')
    command = [
        "run",
        str(path),
        "--ref",
        str(tmp_path / "m.png"),
        "--views",
        "4",
        "--size",
        "64",
        "--set",
        "turntable_frames=0",
    ]
    command += ["--quiet", "--out", str(tmp_path / "o"), "--names", str(tmp_path / "n.json")]
    assert main([*command, "--part-files", kind]) == 0
    labels = np.load(tmp_path / "o" / "face_labels.npy")
    files = {p.name: p for p in (tmp_path / "o" / "parts").iterdir()}
    assert set(files) == {f"1_left_side.{kind}", f"2_r_h.{kind}"}
    for value, file in ((1, f"1_left_side.{kind}"), (2, f"2_r_h.{kind}")):
        piece = load_mesh(files[file])
        corners = cube.vertices[cube.faces[labels == value]]
        np.testing.assert_allclose(piece.vertices[piece.faces], corners, atol=1e-5)
    own = tmp_path / "o" / "parts" / "mine.txt"
    own.write_text("a file of the user's")
    assert main(command) == 0
    assert [p.name for p in (tmp_path / "o" / "parts").iterdir()] == ["mine.txt"]
    assert not (tmp_path / "o" / ".." / "left side").exists()


def test_keep_texture_setting_and_option(tmp_path):
    """``keep_texture`` is a setting and an option."""
    shape = trimesh.Trimesh(*grid(), process=False)
    image = Image.fromarray(np.full((8, 8, 3), 77, np.uint8))
    shape.visual = trimesh.visual.TextureVisuals(uv=shape.vertices[:, :2], image=image)
    shape.export(tmp_path / "t.glb")
    assert main(["render", str(tmp_path / "t.glb"), "--out", str(tmp_path / "v"), "--views", "2", "--size", "64"]) == 0
    ids = np.load(tmp_path / "v" / "view_000.faces.npy")
    write_mask(tmp_path / "m.png", np.where(ids >= 0, ids % 2 + 1, 0))
    command = [
        "run",
        str(tmp_path / "t.glb"),
        "--ref",
        str(tmp_path / "m.png"),
        "--views",
        "2",
        "--size",
        "64",
        "--quiet",
    ]
    for name, more in {"plain": [], "kept": ["--keep-texture"], "set": ["--set", "keep_texture=true"]}.items():
        assert main([*command, "--quiet", "--set", "turntable_frames=0", "--out", str(tmp_path / name), *more]) == 0
    kinds = {name: load_mesh(tmp_path / name / "segmented.glb").appearance.kind for name in ("plain", "kept", "set")}
    assert kinds == {"plain": "vertex", "kept": "textured", "set": "textured"}
