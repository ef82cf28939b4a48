"""OBJ files as programs write them."""

from __future__ import annotations

import os

import numpy as np
import pytest
from PIL import Image

from slime3d.cli import main
from slime3d.io.mesh import load_mesh
from slimecore.errors import InputError

SQUARE = "v 0 0 0\nv 2 0 0\nv 2 2 0\nv 0 2 0\n"
PLAIN = SQUARE + "f 1 2 3\nf 1 3 4\n"


def test_relative_indices_count_from_line(tmp_path):
    """A negative index counts back from the vertices read so far."""
    moved = SQUARE.replace(" 0\n", " 5\n")
    (tmp_path / "m.obj").write_text(f"{SQUARE}f -4 -3 -2\n{moved}f -4 -3 -2\n")
    mesh = load_mesh(tmp_path / "m.obj")
    assert mesh.vertices[mesh.faces][:, 0, 2].tolist() == [0, 5]


@pytest.mark.parametrize(
    ("faces", "count"),
    [
        ("f 1/1 2/2 3/3\nf 1 2 3 4\n", 3),
        ("f 1//1 2//1 3//1\nf 1/1 2/2 3/3\n", 2),
        ("f 1/1/1 2/2/1 3/3/1 4/4/1\nf 1/1 2/2 3/3 4/4\n", 4),
        ("f 1/1/1 2//1 3\nf 1/ 2/ 3/\n", 2),
    ],
)
def test_corners_of_several_kinds(tmp_path, faces, count):
    """Lines whose corners are of several kinds have k - 2 triangles each."""
    (tmp_path / "m.obj").write_text(SQUARE + "vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1\nvn 0 0 1\n" + faces)
    mesh = load_mesh(tmp_path / "m.obj")
    assert len(mesh.faces) == count
    assert mesh.areas().tolist() == [2.0] * count


@pytest.mark.parametrize(
    "text",
    [
        PLAIN.replace(" ", "\t"),
        PLAIN.replace("\n", " # note\n"),
        "\ufeff" + PLAIN,
        PLAIN.replace("\n", "\r"),
        PLAIN.replace("\n", "\r\n"),
        "".join(f"  {line}\n" for line in PLAIN.splitlines()),
        PLAIN.replace("f 1 2 3", "f 1 2 \\\n3"),
    ],
    ids=["tabs", "comments", "mark", "cr", "crlf", "indented", "continued"],
)
def test_text_variants_are_equal(tmp_path, text):
    """Blanks, comments, marks and line ends change nothing."""
    (tmp_path / "m.obj").write_bytes(text.encode())
    mesh = load_mesh(tmp_path / "m.obj")
    assert mesh.vertices[mesh.faces][:, :, :2].tolist() == [[[0, 0], [2, 0], [2, 2]], [[0, 0], [2, 2], [0, 2]]]
    assert mesh.notes == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SQUARE + "f 0 1 2\n", "line 5: a face has vertex 0"),
        (SQUARE + "f 1 2 -9\n", "line 5: a face has vertex -4"),
        (SQUARE + "f 1 2 3,5\n", "line 5: '3,5' is no corner"),
        (SQUARE.replace("2 2 0", "2,5 2 0") + "f 1 2 3\n", "line 3: '2,5' is no number; write decimal points"),
        ("v 1 2\nf 1 1 1\n", "line 1: a vertex has 2 numbers"),
    ],
)
def test_wrong_line_is_named(tmp_path, text, message):
    """A line that is no OBJ is refused by its number."""
    (tmp_path / "m.obj").write_text(text)
    with pytest.raises(InputError, match=message):
        load_mesh(tmp_path / "m.obj")


@pytest.mark.parametrize(
    "library", ["mtllib a.mtl\nmtllib b.mtl\n", "mtllib a.mtl b.mtl\n", "mtllib A.MTL\nmtllib b.mtl\n"]
)
def test_several_material_files(tmp_path, library):
    """Several material files, on one line or more, in any case, give their colours."""
    (tmp_path / "a.mtl").write_text("newmtl red\nKd 1 0 0\n")
    (tmp_path / "b.mtl").write_text("newmtl blue\nKd 0 0 1\n")
    (tmp_path / "m.obj").write_text(f"{library}{SQUARE}usemtl red\nf 1 2 3\nusemtl blue\nf 1 3 4\n")
    mesh = load_mesh(tmp_path / "m.obj")
    assert mesh.appearance.colors[:, 0].tolist() == [[255, 0, 0], [0, 0, 255]]
    assert mesh.notes == ()


def test_texture_options_and_blanks(tmp_path):
    """The options of a texture are no part of its file name, and move its coordinates."""
    Image.new("RGB", (2, 2), (0, 255, 0)).save(tmp_path / "green leaf.png")
    (tmp_path / "m.mtl").write_text("newmtl leaf\nmap_Kd -s 2 2 1 -o 0.5 0 -clamp on green leaf.png\n")
    corners = "vt 0 0\nvt 1 0\nvt 1 1\nf 1/1 2/2 3/3\n"
    (tmp_path / "m.obj").write_text(f"# mtllib old.mtl\nmtllib m.mtl\n{SQUARE}usemtl leaf\n{corners}")
    mesh = load_mesh(tmp_path / "m.obj")
    assert mesh.appearance.images[0][0, 0].tolist() == [0, 255, 0]
    assert mesh.appearance.uv[0].tolist() == [[0.5, 0], [2.5, 0], [2.5, 2]]


def test_lost_materials_are_noted(tmp_path):
    """A material that stands nowhere is named in a note."""
    (tmp_path / "m.mtl").write_text("newmtl red\nKd 1 0 0\n")
    (tmp_path / "m.obj").write_text(f"mtllib m.mtl\n{SQUARE}usemtl gone\nf 1 2 3\n")
    assert "gone" in load_mesh(tmp_path / "m.obj").notes[0]


def test_coordinates_without_texture_are_clay(tmp_path):
    """Texture coordinates without a material are no colour."""
    (tmp_path / "m.obj").write_text(SQUARE + "vt 0 0\nvt 1 0\nvt 1 1\nf 1/1 2/2 3/3\n")
    assert load_mesh(tmp_path / "m.obj").appearance.kind == "clay"


def test_device_as_material_file(tmp_path):
    """A device or pipe that a mesh names is not opened."""
    os.mkfifo(tmp_path / "pipe.mtl")
    for name in ("/dev/zero", "pipe.mtl"):
        (tmp_path / "m.obj").write_text(f"mtllib {name}\n{PLAIN}")
        (note,) = load_mesh(tmp_path / "m.obj").notes
        assert "not a regular file" in note


def test_device_as_mesh_is_refused(tmp_path, capsys):
    """A pipe in place of a mesh is refused at once."""
    os.mkfifo(tmp_path / "m.obj")
    assert main(["info", str(tmp_path / "m.obj")]) == 2
    assert "not a regular file" in capsys.readouterr().err


def test_vertex_colours_and_objects(tmp_path):
    """Colours behind positions are read, and runs have the names of their objects."""
    colored = SQUARE.replace("0\n", "0 1 0 0\n")
    (tmp_path / "m.obj").write_text(f"o a\n{colored}usemtl x\nf 1 2 3\no b\nusemtl y\nf 1 3 4\n")
    mesh = load_mesh(tmp_path / "m.obj")
    assert mesh.node_names == ("a", "b")
    np.testing.assert_array_equal(mesh.appearance.colors, np.broadcast_to([255, 0, 0], (2, 3, 3)))
