"""Parts as binary glTF: one node with a name for each, in the part's colour or as the file looked.

Written here and not by trimesh: a part whose faces use several textures stays one node (several primitives), and parts
share a texture instead of each carrying a copy.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from slime3d.io.mesh import Mesh
from slimecore.array_types import Array

__all__ = ["Piece", "glb_bytes"]

_FLOAT, _INT = 5126, 5125
_VERTICES, _INDICES = 34962, 34963
_ROUNDED = 1e-5  # share of the diagonal that positions may be rounded by


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """One part of a mesh.

    Parameters
    ----------
    name : str
    value : int
        Part value.
    color : (r, g, b)
        sRGB, 0..255.
    faces : (f,) int64
        Its faces, in the file's order.
    """

    name: str
    value: int
    color: tuple[int, int, int]
    faces: Array


def glb_bytes(mesh: Mesh, pieces: Sequence[Piece], *, keep_texture: bool = False) -> bytes:
    """A GLB with a node, a mesh and a material per piece; faces keep their order, borders between pieces are hard.

    Parameters
    ----------
    mesh : Mesh
    pieces : sequence of Piece
        Those without faces are left out.
    keep_texture : bool
        Base colours as the mesh's file has them (texture, vertex and material colours) where it has any, instead of
        the part's colour. Faces of one piece that use several textures become several primitives of its mesh.
    """
    writer = _Writer(mesh, keep_texture=keep_texture and mesh.appearance.kind != "clay")
    taken: set[str] = set()
    for piece in pieces:
        if len(piece.faces):
            name = piece.name if piece.name not in taken else f"{piece.name} {piece.value}"
            taken.add(name)
            writer.add(piece, name)
    return writer.written()


class _Writer:
    """Gathers buffers and the lists of a glTF document."""

    def __init__(self, mesh: Mesh, *, keep_texture: bool) -> None:
        self._mesh, self._keep = mesh, keep_texture
        self._data = bytearray()
        self._lists: dict[str, list[dict[str, Any]]] = {
            key: [] for key in ("nodes", "meshes", "materials", "accessors", "bufferViews", "images", "textures")
        }
        self._texture: dict[int, int] = {}
        used = mesh.used()
        low, high = used.min(0), used.max(0)
        far = float(np.abs(used).max()) * 2.0**-24 > _ROUNDED * float(np.linalg.norm(high - low))
        self._origin = (low + high) / 2 if far else np.zeros(3)  # as float32 from here

    def add(self, piece: Piece, name: str) -> None:
        primitives: list[dict[str, Any]] = []
        if self._keep:
            texture = self._mesh.appearance.texture[piece.faces]
            for index in np.unique(texture)[::-1]:  # untextured faces, -1, last
                primitives.append(self._own_look(piece.faces[texture == index], int(index), name, len(primitives)))
        else:
            primitives.append(self._plain(piece, name))
        self._lists["meshes"].append({"name": name, "primitives": primitives})
        number = len(self._lists["meshes"]) - 1
        place = {"translation": self._origin.tolist()} if self._origin.any() else {}
        self._lists["nodes"].append({"name": name, "mesh": number, **place, "extras": {"value": piece.value}})

    def written(self) -> bytes:
        lists = {key: value for key, value in self._lists.items() if value}
        document = {
            "asset": {"version": "2.0", "generator": "slime3d"},
            "scene": 0,
            "scenes": [{"nodes": list(range(len(self._lists["nodes"])))}],
            **lists,
            "buffers": [{"byteLength": len(self._data)}],
        }
        text = json.dumps(document, ensure_ascii=False, separators=(",", ":")).encode()
        text += b" " * (-len(text) % 4)
        body = bytes(self._data) + b"\0" * (-len(self._data) % 4)
        head = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(body))
        return b"".join(
            [head, struct.pack("<I4s", len(text), b"JSON"), text, struct.pack("<I4s", len(body), b"BIN\0"), body]
        )

    def _plain(self, piece: Piece, name: str) -> dict[str, Any]:
        used, local = np.unique(self._mesh.faces[piece.faces], return_inverse=True)
        factor = [*_linear(np.array(piece.color) / 255).round(5).tolist(), 1.0]
        return self._primitive(
            {"POSITION": self._positions(used)}, local, self._material(name, {"baseColorFactor": factor})
        )

    def _own_look(self, faces: Array, texture: int, name: str, number: int) -> dict[str, Any]:
        """One primitive: what of a piece uses one texture (-1: none)."""
        look = self._mesh.appearance
        corner = self._mesh.faces[faces].reshape(-1, 1)
        columns = [corner]
        if look.colors is not None:
            columns.append(look.colors[faces].reshape(-1, 3).astype(np.int64))
        if texture >= 0 and look.uv is not None:
            columns.append(np.ascontiguousarray(look.uv[faces].reshape(-1, 2)).view(np.int32).astype(np.int64))
        _, first, local = np.unique(np.concatenate(columns, 1), axis=0, return_index=True, return_inverse=True)
        attributes = {"POSITION": self._positions(corner[first, 0])}
        shading: dict[str, Any] = {}
        blending: dict[str, Any] = {}
        if look.colors is not None:
            light = _linear(look.colors[faces].reshape(-1, 3)[first] / 255)
            attributes["COLOR_0"] = self._accessor(light.astype("<f4"), _FLOAT, "VEC3", _VERTICES)
        if texture >= 0 and look.uv is not None:
            uv = look.uv[faces].reshape(-1, 2)[first] * np.array([1, -1], np.float32) + np.array([0, 1], np.float32)
            attributes["TEXCOORD_0"] = self._accessor(uv.astype("<f4"), _FLOAT, "VEC2", _VERTICES)
            shading["baseColorTexture"] = {"index": self._image(texture)}
            blending = _blending(look.alphas[texture] if look.alphas else None)
        label = f"{name}.{number}" if number else name
        return self._primitive(attributes, local, self._material(label, shading, blending))

    def _material(self, name: str, shading: dict[str, Any], blending: dict[str, Any] | None = None) -> int:
        rough = {"metallicFactor": 0.0, "roughnessFactor": 0.9}
        entry = {"name": name, "doubleSided": True, "pbrMetallicRoughness": {**shading, **rough}, **(blending or {})}
        self._lists["materials"].append(entry)
        return len(self._lists["materials"]) - 1

    def _primitive(self, attributes: dict[str, int], local: Array, material: int) -> dict[str, Any]:
        indices = self._accessor(local.reshape(-1).astype("<u4"), _INT, "SCALAR", _INDICES)
        return {"attributes": attributes, "indices": indices, "material": material}

    def _positions(self, used: Array) -> int:
        points = (self._mesh.vertices[used] - self._origin).astype("<f4")
        number = self._accessor(points, _FLOAT, "VEC3", _VERTICES)
        self._lists["accessors"][number].update(min=points.min(0).tolist(), max=points.max(0).tolist())
        return number

    def _image(self, texture: int) -> int:
        if texture not in self._texture:
            from PIL import Image

            look = self._mesh.appearance
            alpha = look.alphas[texture] if look.alphas else None
            pixels = look.images[texture]
            buffer = io.BytesIO()
            Image.fromarray(pixels if alpha is None else np.dstack([pixels, alpha])).save(buffer, "PNG")
            view = self._view(buffer.getvalue())
            self._lists["images"].append({"bufferView": view, "mimeType": "image/png"})
            self._lists["textures"].append({"source": len(self._lists["images"]) - 1})
            self._texture[texture] = len(self._lists["textures"]) - 1
        return self._texture[texture]

    def _accessor(self, array: Array, component: int, kind: str, target: int) -> int:
        view = self._view(array.tobytes(), target)
        entry = {"bufferView": view, "componentType": component, "count": len(array), "type": kind}
        self._lists["accessors"].append(entry)
        return len(self._lists["accessors"]) - 1

    def _view(self, data: bytes, target: int | None = None) -> int:
        self._data += b"\0" * (-len(self._data) % 4)
        entry = {"buffer": 0, "byteOffset": len(self._data), "byteLength": len(data)}
        self._data += data
        self._lists["bufferViews"].append({**entry, **({} if target is None else {"target": target})})
        return len(self._lists["bufferViews"]) - 1


def _blending(alpha: Array | None) -> dict[str, Any]:
    """How glTF lays a texture over what is behind: cut-outs (few values in between) are masks, glass is blended."""
    if alpha is None:
        return {}
    between = (alpha > 25) & (alpha < 230)
    return {"alphaMode": "MASK" if between.sum() < 0.1 * (alpha < 255).sum() else "BLEND"}


def _linear(share: Array) -> Array:
    """SRGB as the linear light that colours of glTF materials and vertices are, both 0..1."""
    return np.asarray(np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4))
