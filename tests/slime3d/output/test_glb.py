"""GLBs of parts, read back with trimesh: nodes, materials, textures, colours, order."""

from __future__ import annotations

import io
import json
import struct

import numpy as np
import pytest
import trimesh
from PIL import Image

from slime3d.io.materials import Appearance
from slime3d.io.mesh import Mesh, load_mesh
from slime3d.output.glb import Piece, glb_bytes
from tests.slime3d.shapes import grid, make_mesh

RED, BLUE = (200, 0, 0), (0, 0, 120)


def dressed(alpha=None):
    """A grid with two textures, a strip without any, and colours at its corners."""
    vertices, faces = grid()
    texture = np.arange(len(faces)) % 3 - 1
    images = tuple(np.full((4, 4, 3), tone, np.uint8) for tone in (90, 200))
    colors = np.random.default_rng(0).integers(0, 256, (len(faces), 3, 3)).astype(np.uint8)
    uv = vertices[faces][..., :2].astype(np.float32) * 1.5 - 0.2
    look = Appearance(colors, uv, texture.astype(np.int32), images, (alpha, None))
    return Mesh(vertices, faces, np.zeros(len(faces), np.int32), ("grid",), look)


def halves(count):
    return [Piece("left", 3, RED, np.arange(0, count, 2)), Piece("right", 5, BLUE, np.arange(1, count, 2))]


def document(data):
    return json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])


def reopened(data, tmp_path):
    path = tmp_path / "x.glb"
    path.write_bytes(data)
    return load_mesh(path)


def test_part_is_node_with_own_material(tmp_path):
    """A part is a node with a material of its name and colour."""
    mesh = make_mesh(*grid())
    data = glb_bytes(mesh, halves(len(mesh.faces)))
    scene = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False)
    assert set(scene.graph.nodes_geometry) == {"left", "right"}
    left = scene.geometry[scene.graph["left"][1]]
    assert left.visual.material.name == "left"
    linear = ((200 / 255 + 0.055) / 1.055) ** 2.4
    factor = np.asarray(left.visual.material.baseColorFactor)[:3] / 255
    np.testing.assert_allclose(factor, [linear, 0, 0], atol=0.01)
    assert document(data)["nodes"][0]["extras"] == {"value": 3}
    again = reopened(data, tmp_path)
    for name, start in (("left", 0), ("right", 1)):
        faces = again.faces[again.node == again.node_names.index(name)]
        np.testing.assert_allclose(again.vertices[faces], mesh.vertices[mesh.faces[start::2]], atol=1e-6)


def test_glb_meets_format_requirements():
    """The requirements of the format hold."""
    data = glb_bytes(dressed(), halves(32), keep_texture=True)
    magic, version, total = struct.unpack_from("<4sII", data)
    assert (magic, version, total) == (b"glTF", 2, len(data))
    head = document(data)
    assert total % 4 == 0
    for view in head["bufferViews"]:
        assert view["byteOffset"] % 4 == 0
        assert view["byteOffset"] + view["byteLength"] <= head["buffers"][0]["byteLength"]
    width = {"SCALAR": 1, "VEC2": 2, "VEC3": 3}
    for accessor in head["accessors"]:
        length = head["bufferViews"][accessor["bufferView"]]["byteLength"]
        assert length == 4 * width[accessor["type"]] * accessor["count"]
    for mesh in head["meshes"]:
        for primitive in mesh["primitives"]:
            assert {"min", "max"} <= set(head["accessors"][primitive["attributes"]["POSITION"]])


def test_textures_kept_and_stored_once(tmp_path):
    """Textures and colours are kept, and a texture is stored once."""
    mesh = dressed()
    data = glb_bytes(mesh, halves(32), keep_texture=True)
    head = document(data)
    assert [n["name"] for n in head["nodes"]] == ["left", "right"]
    assert len(head["images"]) == 2
    assert [len(m["primitives"]) for m in head["meshes"]] == [3, 3]
    assert {m["name"] for m in head["materials"]} == {f"{n}{s}" for n in ("left", "right") for s in ("", ".1", ".2")}
    again = reopened(data, tmp_path)
    middle = {tuple(np.round(m, 4)): i for i, m in enumerate(mesh.middles())}
    tones = [image.max() for image in again.appearance.images]
    assert len(again.faces) == 32
    for face, where in enumerate(again.middles()):
        old = middle[tuple(np.round(where, 4))]
        np.testing.assert_allclose(again.vertices[again.faces[face]], mesh.vertices[mesh.faces[old]], atol=1e-6)
        assert np.abs(again.appearance.colors[face].astype(int) - mesh.appearance.colors[old]).max() <= 8
        mine = mesh.appearance.texture[old]
        if mine >= 0:
            np.testing.assert_allclose(again.appearance.uv[face], mesh.appearance.uv[old], atol=1e-5)
            assert tones[again.appearance.texture[face]] == mesh.appearance.images[mine].max()
        else:
            assert again.appearance.texture[face] == -1


@pytest.mark.parametrize(("values", "mode"), [((0, 255), "MASK"), ((100, 140), "BLEND"), ((255, 255), None)])
def test_transparent_textures_stay_transparent(tmp_path, values, mode):
    """Transparent textures stay transparent."""
    image = np.full((4, 4, 4), 200, np.uint8)
    image[..., 3] = np.repeat(values, 8).reshape(4, 4)
    shape = trimesh.Trimesh(*grid(), process=False)
    material = trimesh.visual.material.PBRMaterial(baseColorTexture=Image.fromarray(image), alphaMode="BLEND")
    shape.visual = trimesh.visual.TextureVisuals(uv=shape.vertices[:, :2], material=material)
    shape.export(tmp_path / "a.glb")
    data = glb_bytes(load_mesh(tmp_path / "a.glb"), halves(32), keep_texture=True)
    head = document(data)
    assert {m.get("alphaMode") for m in head["materials"]} == {mode}
    scene = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False)
    kept = scene.geometry["left"].visual.material.baseColorTexture
    assert ("A" in kept.getbands()) == (mode is not None)
    if mode:
        np.testing.assert_array_equal(np.asarray(kept)[..., 3], image[..., 3])


def test_colourless_mesh_coloured_by_part():
    """A mesh without colours is coloured by part anyway."""
    mesh = make_mesh(*grid())
    assert glb_bytes(mesh, halves(32), keep_texture=True) == glb_bytes(mesh, halves(32))


def test_equal_names_separated_empty_parts_omitted():
    """Parts of the same name stay separate, and empty parts are left out."""
    mesh = make_mesh(*grid())
    none = np.zeros(0, np.int64)
    pieces = [Piece("leg", 1, RED, np.arange(9)), Piece("leg", 2, BLUE, np.arange(9, 32)), Piece("arm", 3, RED, none)]
    assert [n["name"] for n in document(glb_bytes(mesh, pieces))["nodes"]] == ["leg", "leg 2"]


@pytest.mark.parametrize(("offset", "placed"), [(0.0, False), (10.0, False), (5e6, True), (1e8, True)])
def test_distant_mesh_keeps_shape(offset, placed):
    """Meshes far from the origin keep their shape.

    As with coordinates of a map: float32 has 7 digits.
    """
    ball = trimesh.creation.icosphere(subdivisions=2, radius=0.5)
    mesh = make_mesh(ball.vertices + offset, ball.faces)
    data = glb_bytes(mesh, [Piece("ball", 1, RED, np.arange(len(ball.faces)))])
    nodes = json.loads(data[20 : 20 + struct.unpack_from("<I", data, 12)[0]])["nodes"]
    assert ("translation" in nodes[0]) == placed
    (again,) = trimesh.load_scene(io.BytesIO(data), file_type="glb", process=False).geometry.values()
    place = again.vertices + nodes[0].get("translation", [0, 0, 0])
    assert np.abs(place[again.faces] - mesh.vertices[mesh.faces]).max() < 2e-6
