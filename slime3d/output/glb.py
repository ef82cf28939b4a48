"""Writer of binary glTF with a named node for each part, in the part's colour or with the file's textures.

Unlike trimesh's writer, it keeps a part with several textures as a single node, and stores shared textures once. See
docs/adr/0018.
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

_FLOAT_COMPONENT, _UINT_COMPONENT = 5126, 5125
_ARRAY_BUFFER, _ELEMENT_ARRAY_BUFFER = 34962, 34963
_MAX_ROUNDING_SHARE = 1e-5  # largest rounding error of float32 positions, as a share of the bounding box's diagonal


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Part of a mesh.

    Parameters
    ----------
    name : str
    value : int
        Part value.
    color : (r, g, b)
        sRGB, 0..255.
    faces : (f,) int64
        Faces of the part, in the file's order.
    """

    name: str
    value: int
    color: tuple[int, int, int]
    faces: Array


def glb_bytes(mesh: Mesh, pieces: Sequence[Piece], *, keep_texture: bool = False) -> bytes:
    """Encode parts as a GLB with a node, a mesh and a material for each part.

    Faces keep their order. Vertices at borders between parts are split.

    Parameters
    ----------
    mesh : Mesh
    pieces : sequence of Piece
        Pieces without faces are left out.
    keep_texture : bool
        Use the base colours of the mesh's file (texture, vertex and material colours), if any, instead of the part's
        colour. A part with several textures becomes a mesh with several primitives.

    Returns
    -------
    bytes
    """
    writer = _GlbWriter(mesh, keep_texture=keep_texture and mesh.appearance.kind != "clay")
    used_names: set[str] = set()
    for piece in pieces:
        if len(piece.faces):
            name = piece.name if piece.name not in used_names else f"{piece.name} {piece.value}"
            used_names.add(name)
            writer.add(piece, name)
    return writer.written()


class _GlbWriter:
    """Collector of the binary buffer and the JSON lists of a glTF document."""

    def __init__(self, mesh: Mesh, *, keep_texture: bool) -> None:
        self._mesh, self._keep = mesh, keep_texture
        self._data = bytearray()
        self._lists: dict[str, list[dict[str, Any]]] = {
            key: [] for key in ("nodes", "meshes", "materials", "accessors", "bufferViews", "images", "textures")
        }
        self._texture: dict[int, int] = {}
        used = mesh.used()
        low, high = used.min(0), used.max(0)
        loses_precision = float(np.abs(used).max()) * 2.0**-24 > _MAX_ROUNDING_SHARE * float(np.linalg.norm(high - low))
        self._origin = (low + high) / 2 if loses_precision else np.zeros(3)  # float32 positions are relative to it

    def add(self, piece: Piece, name: str) -> None:
        """Append the mesh and node of a part."""
        primitives: list[dict[str, Any]] = []
        if self._keep:
            texture = self._mesh.appearance.texture[piece.faces]
            for index in np.unique(texture)[::-1]:  # untextured faces, -1, last
                primitives.append(
                    self._textured_primitive(piece.faces[texture == index], int(index), name, len(primitives))
                )
        else:
            primitives.append(self._colored_primitive(piece, name))
        self._lists["meshes"].append({"name": name, "primitives": primitives})
        index = len(self._lists["meshes"]) - 1
        translation = {"translation": self._origin.tolist()} if self._origin.any() else {}
        self._lists["nodes"].append({"name": name, "mesh": index, **translation, "extras": {"value": piece.value}})

    def written(self) -> bytes:
        """Return the GLB file."""
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

    def _colored_primitive(self, piece: Piece, name: str) -> dict[str, Any]:
        used, local = np.unique(self._mesh.faces[piece.faces], return_inverse=True)
        factor = [*_srgb_to_linear(np.array(piece.color) / 255).round(5).tolist(), 1.0]
        return self._primitive(
            {"POSITION": self._positions(used)}, local, self._material(name, {"baseColorFactor": factor})
        )

    def _textured_primitive(self, faces: Array, texture: int, name: str, number: int) -> dict[str, Any]:
        """Append the primitive of a part's faces with the given texture (-1 = none)."""
        appearance = self._mesh.appearance
        corner = self._mesh.faces[faces].reshape(-1, 1)
        columns = [corner]
        if appearance.colors is not None:
            columns.append(appearance.colors[faces].reshape(-1, 3).astype(np.int64))
        if texture >= 0 and appearance.uv is not None:
            columns.append(np.ascontiguousarray(appearance.uv[faces].reshape(-1, 2)).view(np.int32).astype(np.int64))
        _, first, local = np.unique(np.concatenate(columns, 1), axis=0, return_index=True, return_inverse=True)
        attributes = {"POSITION": self._positions(corner[first, 0])}
        shading: dict[str, Any] = {}
        alpha_mode: dict[str, Any] = {}
        if appearance.colors is not None:
            linear_rgb = _srgb_to_linear(appearance.colors[faces].reshape(-1, 3)[first] / 255)
            attributes["COLOR_0"] = self._accessor(linear_rgb.astype("<f4"), _FLOAT_COMPONENT, "VEC3", _ARRAY_BUFFER)
        if texture >= 0 and appearance.uv is not None:
            uv = appearance.uv[faces].reshape(-1, 2)[first] * np.array([1, -1], np.float32) + np.array(
                [0, 1], np.float32
            )
            attributes["TEXCOORD_0"] = self._accessor(uv.astype("<f4"), _FLOAT_COMPONENT, "VEC2", _ARRAY_BUFFER)
            shading["baseColorTexture"] = {"index": self._image(texture)}
            alpha_mode = _alpha_mode(appearance.alphas[texture] if appearance.alphas else None)
        label = f"{name}.{number}" if number else name
        return self._primitive(attributes, local, self._material(label, shading, alpha_mode))

    def _material(self, name: str, shading: dict[str, Any], alpha_mode: dict[str, Any] | None = None) -> int:
        rough = {"metallicFactor": 0.0, "roughnessFactor": 0.9}
        entry = {"name": name, "doubleSided": True, "pbrMetallicRoughness": {**shading, **rough}, **(alpha_mode or {})}
        self._lists["materials"].append(entry)
        return len(self._lists["materials"]) - 1

    def _primitive(self, attributes: dict[str, int], local: Array, material: int) -> dict[str, Any]:
        indices = self._accessor(local.reshape(-1).astype("<u4"), _UINT_COMPONENT, "SCALAR", _ELEMENT_ARRAY_BUFFER)
        return {"attributes": attributes, "indices": indices, "material": material}

    def _positions(self, used: Array) -> int:
        points = (self._mesh.vertices[used] - self._origin).astype("<f4")
        accessor = self._accessor(points, _FLOAT_COMPONENT, "VEC3", _ARRAY_BUFFER)
        self._lists["accessors"][accessor].update(min=points.min(0).tolist(), max=points.max(0).tolist())
        return accessor

    def _image(self, texture: int) -> int:
        if texture not in self._texture:
            from PIL import Image

            appearance = self._mesh.appearance
            alpha = appearance.alphas[texture] if appearance.alphas else None
            pixels = appearance.images[texture]
            buffer = io.BytesIO()
            Image.fromarray(pixels if alpha is None else np.dstack([pixels, alpha])).save(buffer, "PNG")
            view = self._buffer_view(buffer.getvalue())
            self._lists["images"].append({"bufferView": view, "mimeType": "image/png"})
            self._lists["textures"].append({"source": len(self._lists["images"]) - 1})
            self._texture[texture] = len(self._lists["textures"]) - 1
        return self._texture[texture]

    def _accessor(self, array: Array, component: int, kind: str, target: int) -> int:
        view = self._buffer_view(array.tobytes(), target)
        entry = {"bufferView": view, "componentType": component, "count": len(array), "type": kind}
        self._lists["accessors"].append(entry)
        return len(self._lists["accessors"]) - 1

    def _buffer_view(self, data: bytes, target: int | None = None) -> int:
        self._data += b"\0" * (-len(self._data) % 4)
        entry = {"buffer": 0, "byteOffset": len(self._data), "byteLength": len(data)}
        self._data += data
        self._lists["bufferViews"].append({**entry, **({} if target is None else {"target": target})})
        return len(self._lists["bufferViews"]) - 1


def _alpha_mode(alpha: Array | None) -> dict[str, Any]:
    """Return glTF's alpha mode: MASK for cut-outs (few translucent pixels), BLEND for glass, none if opaque."""
    if alpha is None:
        return {}
    translucent = (alpha > 25) & (alpha < 230)
    return {"alphaMode": "MASK" if translucent.sum() < 0.1 * (alpha < 255).sum() else "BLEND"}


def _srgb_to_linear(share: Array) -> Array:
    """Convert sRGB to the linear colours of glTF materials and vertices, both 0..1."""
    return np.asarray(np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4))
