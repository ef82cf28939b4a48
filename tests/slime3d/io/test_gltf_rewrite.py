"""glTF features that change shape or look, each in a file made here."""

from __future__ import annotations

import base64
import io
import json
import os
import struct

import numpy as np
import pytest
from PIL import Image

from slime3d.io.mesh import load_mesh
from slimecore.errors import InputError

V = np.array([[x, y, z] for x in (0, 1) for y in (0, 1) for z in (0, 1)], float) - 0.5
F = np.array(
    [0, 1, 3, 0, 3, 2, 4, 6, 7, 4, 7, 5, 0, 4, 5, 0, 5, 1, 2, 3, 7, 2, 7, 6, 0, 2, 6, 0, 6, 4, 1, 5, 7, 1, 7, 3]
)
TYPES = {"i1": 5120, "u1": 5121, "i2": 5122, "u2": 5123, "u4": 5125, "f4": 5126}


class Writer:
    """A small writer of glTF files."""

    def __init__(self):
        self.data = bytearray()
        self.head = {"asset": {"version": "2.0"}, "scenes": [{"nodes": [0]}], "scene": 0, "nodes": [{"mesh": 0}]}
        self.head |= {"bufferViews": [], "accessors": []}

    def view(self, data, **more):
        """Add a buffer view."""
        self.data += b"\0" * (-len(self.data) % 4)
        entry = {"buffer": 0, "byteOffset": len(self.data), "byteLength": len(data), **more}
        self.head["bufferViews"].append(entry)
        self.data += data
        return len(self.head["bufferViews"]) - 1

    def accessor(self, table, kind, form, pad=0, **more):
        """Add an accessor, its rows padded to `pad` numbers."""
        table = np.asarray(table).astype("<" + kind)
        stored = np.zeros((len(table), pad), table.dtype) if pad else table
        if pad:
            stored[:, : table.shape[1]] = table
        stride = {"byteStride": pad * table.itemsize} if pad else {}
        entry = {"bufferView": self.view(stored.tobytes(), **stride), "componentType": TYPES[kind], "type": form}
        self.head["accessors"].append({**entry, "count": len(table), **more})
        return len(self.head["accessors"]) - 1

    def box(self, **attributes):
        """Add a mesh of a unit box and return its primitive."""
        place = attributes.pop("POSITION", None)
        place = self.accessor(V, "f4", "VEC3") if place is None else place
        order = self.accessor(F.reshape(-1), "u2", "SCALAR")
        primitive = {"attributes": {"POSITION": place, **attributes}, "indices": order}
        self.head.setdefault("meshes", []).append({"primitives": [primitive]})
        return primitive

    def texture(self, **info):
        """Add a material with a texture whose pixels differ."""
        stream = io.BytesIO()
        Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(stream, "png")
        self.head["images"] = [{"bufferView": self.view(stream.getvalue()), "mimeType": "image/png"}]
        self.head["textures"] = [{"source": 0}]
        self.head["materials"] = [{"pbrMetallicRoughness": {"baseColorTexture": {"index": 0, **info}}}]

    def save(self, path):
        """Write a .glb."""
        text = json.dumps({**self.head, "buffers": [{"byteLength": len(self.data)}]}).encode()
        text += b" " * (-len(text) % 4)
        data = bytes(self.data) + b"\0" * (-len(self.data) % 4)
        start = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(data)) + struct.pack("<I4s", len(text), b"JSON")
        path.write_bytes(start + text + struct.pack("<I4s", len(data), b"BIN\0") + data)
        return path

    def save_text(self, path, uri=None):
        """Write a .gltf, with its buffer inside or at an URI."""
        inside = "data:application/octet-stream;base64," + base64.b64encode(bytes(self.data)).decode()
        buffers = [{"byteLength": len(self.data), "uri": uri or inside}]
        path.write_text(json.dumps({**self.head, "buffers": buffers}))
        return path


def sides(path):
    """The number of faces and the size of a mesh."""
    mesh = load_mesh(path)
    return len(mesh.faces), np.ptp(mesh.used(), axis=0).round(3).tolist()


def test_quantised_positions_are_scaled(tmp_path):
    """Normalised 16-bit positions are divided by 32767."""
    gltf = Writer()
    gltf.box(POSITION=gltf.accessor(np.round(V * 2 * 32767), "i2", "VEC3", pad=4, normalized=True))
    gltf.head["nodes"] = [{"mesh": 0, "scale": [0.5] * 3}, {"mesh": 0, "scale": [0.5] * 3, "translation": [3, 0, 0]}]
    gltf.head["scenes"] = [{"nodes": [0, 1]}]
    gltf.head["extensionsRequired"] = ["KHR_mesh_quantization"]
    assert sides(gltf.save(tmp_path / "m.glb")) == (24, [4, 1, 1])


@pytest.mark.parametrize("based", [True, False])
def test_sparse_positions_are_applied(tmp_path, based):
    """Sparse values replace those of the buffer, or zeros."""
    gltf = Writer()
    index = gltf.accessor(V, "f4", "VEC3")
    top = np.flatnonzero(V[:, 1] > 0) if based else np.arange(8)
    values = V[top] + ([0, 3, 0] if based else [0, 0, 0])
    gltf.head["accessors"][index]["sparse"] = {
        "count": len(top),
        "indices": {"bufferView": gltf.view(top.astype("<u2").tobytes()), "componentType": 5123},
        "values": {"bufferView": gltf.view(values.astype("<f4").tobytes())},
    }
    if not based:
        del gltf.head["accessors"][index]["bufferView"]
    gltf.box(POSITION=index)
    assert sides(gltf.save(tmp_path / "m.glb")) == (12, [1, 4 if based else 1, 1])


def test_instances_are_drawn_in_order(tmp_path):
    """Every instance of EXT_mesh_gpu_instancing is a node, in its order."""
    gltf = Writer()
    gltf.box()
    places = gltf.accessor([[0, 0, 0], [3, 0, 0], [6, 0, 0]], "f4", "VEC3")
    extension = {"EXT_mesh_gpu_instancing": {"attributes": {"TRANSLATION": places}}}
    gltf.head["nodes"] = [{"mesh": 0, "name": "tree", "extensions": extension}]
    mesh = load_mesh(gltf.save(tmp_path / "m.glb"))
    assert mesh.node_names == ("tree.0", "tree.1", "tree.2")
    assert mesh.middles().reshape(3, 12, 3).mean(1)[:, 0].round(6).tolist() == [0, 3, 6]


def test_skin_and_morph_are_applied(tmp_path):
    """A skinned mesh stands where its joints put it, and morph weights move vertices."""
    gltf = Writer()
    joints = gltf.accessor(np.zeros((8, 4)), "u1", "VEC4")
    weights = gltf.accessor(np.tile([255, 0, 0, 0], (8, 1)), "u1", "VEC4", normalized=True)
    gltf.box(POSITION=gltf.accessor(V * 100, "f4", "VEC3"), JOINTS_0=joints, WEIGHTS_0=weights)
    hat = gltf.box()
    hat["targets"] = [{"POSITION": gltf.accessor(np.where(V[:, 1:2] > 0, [[0, 2, 0]], 0), "f4", "VEC3")}]
    inverse = gltf.accessor([np.diag([0.01, 0.01, 0.01, 1]).reshape(-1)], "f4", "MAT4")
    gltf.head["skins"] = [{"joints": [1], "inverseBindMatrices": inverse}]
    gltf.head["nodes"] = [
        {"mesh": 0, "skin": 0, "name": "body", "translation": [9, 9, 9]},
        {"name": "joint", "translation": [2, 0, 0]},
        {"mesh": 1, "weights": [0.5], "translation": [2, 1.2, 0]},
    ]
    gltf.head["scenes"] = [{"nodes": [0, 1, 2]}]
    mesh = load_mesh(gltf.save(tmp_path / "m.glb"))
    assert np.ptp(mesh.used(), axis=0).round(4).tolist() == [1, 3.2, 1]
    assert len(mesh.notes) == 2


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"texCoord": 1}, [0.25, 0.5]),
        ({"extensions": {"KHR_texture_transform": {"offset": [0.5, 0], "scale": [2, 1]}}}, [0.7, 0.8]),
        ({"extensions": {"KHR_texture_transform": {"rotation": np.pi / 2}}}, [0.2, 1.1]),
        ({"extensions": {"KHR_texture_transform": {"texCoord": 1, "offset": [0.5, 0]}}}, [0.75, 0.5]),
    ],
    ids=["second", "moved", "turned", "both"],
)
def test_texture_coordinates_of_the_material(tmp_path, info, expected):
    """The texture has the coordinates and the transform of its material; here v points upwards."""
    gltf = Writer()
    first = gltf.accessor(np.tile([0.1, 0.2], (8, 1)), "f4", "VEC2")
    second = gltf.accessor(np.tile([64, 128], (8, 1)) * 257, "u2", "VEC2", normalized=True)
    gltf.box(TEXCOORD_0=first, TEXCOORD_1=second)["material"] = 0
    gltf.texture(**info)
    mesh = load_mesh(gltf.save(tmp_path / "m.glb"))
    np.testing.assert_allclose(mesh.appearance.uv[0, 0], expected, atol=0.01)
    assert mesh.appearance.kind == "textured"


def test_ktx2_texture_is_noted(tmp_path):
    """A texture in KTX2 alone is left out with a note."""
    gltf = Writer()
    uv = gltf.accessor(np.zeros((8, 2)), "f4", "VEC2")
    gltf.box(TEXCOORD_0=uv)["material"] = 0
    gltf.texture()
    gltf.head["textures"] = [{"extensions": {"KHR_texture_basisu": {"source": 0}}}]
    mesh = load_mesh(gltf.save(tmp_path / "m.glb"))
    assert any("KTX2" in note for note in mesh.notes)
    assert mesh.appearance.kind != "textured"


def test_unknown_extension_is_named(tmp_path):
    """A required extension that is not read is named."""
    gltf = Writer()
    gltf.box()
    gltf.head["extensionsRequired"] = ["ACME_voxels"]
    with pytest.raises(InputError, match="ACME_voxels"):
        load_mesh(gltf.save(tmp_path / "m.glb"))


def test_scene_may_be_missing(tmp_path):
    """Without scenes, the nodes without a parent are shown; cameras move nothing."""
    gltf = Writer()
    gltf.box()
    gltf.head["nodes"] = [{"camera": 0, "translation": [5, 0, 0], "children": [1]}, {"mesh": 0}]
    gltf.head["cameras"] = [{"type": "perspective", "perspective": {"yfov": 1, "znear": 0.1, "aspectRatio": 1}}]
    del gltf.head["scenes"], gltf.head["scene"]
    mesh = load_mesh(gltf.save(tmp_path / "m.glb"))
    assert mesh.middles().mean(0).round(6).tolist() == [5, 0, 0]


def test_percent_encoded_names_are_found(tmp_path):
    """Names of buffers and images are percent-encoded URIs."""
    gltf = Writer()
    uv = gltf.accessor(np.zeros((8, 2)), "f4", "VEC2")
    gltf.box(TEXCOORD_0=uv)["material"] = 0
    gltf.texture()
    gltf.head["images"] = [{"uri": "my%20skin.png"}]
    Image.new("RGB", (2, 2), (9, 8, 7)).save(tmp_path / "my skin.png")
    (tmp_path / "my data.bin").write_bytes(bytes(gltf.data))
    mesh = load_mesh(gltf.save_text(tmp_path / "m.gltf", "my%20data.bin"))
    assert len(mesh.faces) == 12
    assert mesh.appearance.images[0][0, 0].tolist() == [9, 8, 7]


def test_cut_gltf_beside_another(tmp_path):
    """A cut file is refused, and a byte order mark skipped, also beside a file model.gltf."""
    gltf = Writer()
    gltf.box()
    whole = gltf.save_text(tmp_path / "model.gltf").read_bytes()
    (tmp_path / "bom.gltf").write_bytes(b"\xef\xbb\xbf" + whole)
    (tmp_path / "cut.gltf").write_bytes(whole[:-40])
    assert len(load_mesh(tmp_path / "bom.gltf").faces) == 12
    with pytest.raises(InputError, match="cut off"):
        load_mesh(tmp_path / "cut.gltf")
    data = gltf.save(tmp_path / "m.glb").read_bytes()
    (tmp_path / "m.glb").write_bytes(data[:-40])
    with pytest.raises(InputError, match=r"cut off: its header announces \d+ bytes"):
        load_mesh(tmp_path / "m.glb")


def test_gltf_pipe_is_not_opened(tmp_path):
    """A pipe that a glTF names is refused as a buffer and noted as an image."""
    os.mkfifo(tmp_path / "pipe")
    gltf = Writer()
    gltf.box()
    with pytest.raises(InputError, match="not a regular file"):
        load_mesh(gltf.save_text(tmp_path / "m.gltf", "pipe"))
