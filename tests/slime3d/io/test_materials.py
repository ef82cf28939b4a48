"""Materials, textures and vertex colours of every format."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import trimesh
from PIL import Image

from slime3d.cli import main
from slime3d.io.mesh import load_mesh
from tests.slime3d.shapes import textured_square


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


def colored(kind, material):
    """One triangle with a vertex colour of linear 0.5, 0.25, 0."""
    place = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], "<f4").tobytes()
    tone = np.array([[0.5, 0.25, 0, 1]] * 3)
    paint = (tone if kind == "f4" else (tone * {"u2": 65535, "u1": 255}[kind]).round()).astype(f"<{kind}").tobytes()
    component = {"f4": 5126, "u2": 5123, "u1": 5121}[kind]
    primitive = {"attributes": {"POSITION": 0, "COLOR_0": 1}, **({"material": 0} if material else {})}
    head = {
        "asset": {"version": "2.0"},
        "scenes": [{"nodes": [0]}],
        "scene": 0,
        "nodes": [{"mesh": 0}],
        "meshes": [{"primitives": [primitive]}],
        "materials": [{"pbrMetallicRoughness": {"baseColorFactor": [1, 0.5, 1, 1]}}],
        "accessors": [
            {"bufferView": 0, "componentType": 5126, "count": 3, "type": "VEC3", "min": [0, 0, 0], "max": [1, 1, 0]},
            {"bufferView": 1, "componentType": component, "count": 3, "type": "VEC4", "normalized": kind != "f4"},
        ],
        "bufferViews": [
            {"buffer": 0, "byteOffset": 0, "byteLength": 36},
            {"buffer": 0, "byteOffset": 36, "byteLength": len(paint)},
        ],
        "buffers": [{"byteLength": 36 + len(paint)}],
    }
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 4)
    body = place + paint + b"\0" * (-len(paint) % 4)
    start = struct.pack("<4sIII4s", b"glTF", 2, 28 + len(text) + len(body), len(text), b"JSON")
    return start + text + struct.pack("<I4s", len(body), b"BIN\0") + body


@pytest.mark.parametrize("material", [False, True])
@pytest.mark.parametrize("kind", ["f4", "u2", "u1"])
def test_gltf_vertex_colours_of_every_width(tmp_path, kind, material):
    """Vertex colours of glTF are right in every number format.

    Linear light in the file, times the material's colour. In sRGB 0.5 is 188, 0.25 is 137 and 0.125 is 99.
    """
    (tmp_path / "c.glb").write_bytes(colored(kind, material))
    mesh = load_mesh(tmp_path / "c.glb")
    assert mesh.appearance.kind == "vertex"
    assert np.abs(mesh.appearance.colors.astype(int) - [188, 99 if material else 137, 0]).max() <= 2


def test_missing_texture_is_noted(tmp_path, capsys):
    """A missing texture is a note, not an error."""
    textured_square().export(tmp_path / "s.obj")
    for file in tmp_path.glob("*.png"):
        file.unlink()
    mesh = load_mesh(tmp_path / "s.obj")
    assert len(mesh.notes) == 1
    assert "going on without it" in mesh.notes[0]
    assert mesh.appearance.kind != "textured"
    assert main(["render", str(tmp_path / "s.obj"), "--out", str(tmp_path / "o"), "--views", "2", "--size", "32"]) == 0
    assert capsys.readouterr().err.count("note:") == 1
