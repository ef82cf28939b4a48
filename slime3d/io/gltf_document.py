"""glTF documents: JSON and buffers of a .glb or .gltf, checked before anything is built of them."""

from __future__ import annotations

import base64
import binascii
import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.io.regular_files import read_beside
from slimecore.array_types import Array
from slimecore.errors import InputError

__all__ = ["COMPONENT_TYPES", "GltfDocument", "read_gltf", "read_uri"]

COMPONENT_TYPES = {5120: "i1", 5121: "u1", 5122: "i2", 5123: "u2", 5125: "u4", 5126: "f4"}
_WIDTHS = {"SCALAR": 1, "VEC2": 2, "VEC3": 3, "VEC4": 4, "MAT2": 4, "MAT3": 9, "MAT4": 16}
_MAX_NODES = 1_000_000

# extensions that change neither the triangles nor where they are, or that are read here
_READABLE_EXTENSIONS = {
    "EXT_mesh_gpu_instancing",
    "EXT_texture_avif",
    "EXT_texture_webp",
    "KHR_draco_mesh_compression",
    "KHR_lights_punctual",
    "KHR_mesh_quantization",
    "KHR_texture_basisu",
    "KHR_texture_transform",
    "KHR_xmp",
    "KHR_xmp_json_ld",
    "MSFT_texture_dds",
}


@dataclass
class GltfDocument:
    """JSON document and content of a glTF file.

    Parameters
    ----------
    path : Path
    head : dict
        The JSON document.
    buffers : list of bytes
    """

    path: Path
    head: dict[str, Any]
    buffers: list[bytes]

    def entries(self, key: str) -> list[dict[str, Any]]:
        """Return the objects of a top-level array, which may be absent."""
        return self.head.get(key) or []

    def is_compressed(self, accessor: int) -> bool:
        """Return whether an accessor has no data of its own, as in Draco files."""
        entry = self.entries("accessors")[accessor]
        return "bufferView" not in entry and "sparse" not in entry

    def values(self, accessor: int, *, raw: bool = False) -> Array:
        """Return the numbers (count, width) of an accessor: sparse values applied, normalised ones as float64.

        Parameters
        ----------
        accessor : int
        raw : bool
            Keep the stored type, without normalisation.
        """
        entry = self.entries("accessors")[accessor]
        width, count = _WIDTHS[entry["type"]], entry["count"]
        dtype = np.dtype("<" + COMPONENT_TYPES[entry["componentType"]])
        if "bufferView" in entry:
            table = self._view(entry["bufferView"], entry.get("byteOffset", 0), dtype, count, width)
        else:
            table = np.zeros((count, width), dtype)
        if sparse := entry.get("sparse"):
            indices, values = sparse["indices"], sparse["values"]
            kind = np.dtype("<" + COMPONENT_TYPES[indices["componentType"]])
            place = self._view(indices["bufferView"], indices.get("byteOffset", 0), kind, sparse["count"], 1)[:, 0]
            table = table.copy()
            table[place] = self._view(values["bufferView"], values.get("byteOffset", 0), dtype, sparse["count"], width)
        if raw or not entry.get("normalized") or dtype.kind == "f":
            return table if raw else table.astype(np.float64)
        return np.maximum(table / np.iinfo(dtype).max, -1.0)

    def _view(self, view: int, offset: int, dtype: np.dtype[Any], count: int, width: int) -> Array:
        entry = self.entries("bufferViews")[view]
        row = dtype.itemsize * width
        stride = entry.get("byteStride") or row
        length = stride * (count - 1) + row if count else 0
        start = entry.get("byteOffset", 0)
        if min(offset, start, count) < 0 or offset + length > entry["byteLength"]:
            raise ValueError("an accessor reaches beyond its buffer view")
        data = self.buffers[entry["buffer"]]
        if start + entry["byteLength"] > len(data):
            raise ValueError("a buffer view reaches beyond its buffer")
        return np.array(np.ndarray((count, width), dtype, data, start + offset, (stride, dtype.itemsize)))

    def scene_roots(self) -> list[int]:
        """Return the root nodes of the scene to show: all nodes without a parent if there is no scene."""
        scenes = self.entries("scenes")
        if scenes:
            return list(scenes[self.head.get("scene", 0)].get("nodes") or [])
        children = {child for node in self.entries("nodes") for child in node.get("children") or ()}
        return [index for index in range(len(self.entries("nodes"))) if index not in children]

    def scene_nodes(self) -> Iterator[int]:
        """Yield all nodes of the scene to show.

        Raises
        ------
        ValueError
            A node is reached twice, which glTF forbids.
        """
        nodes, queue = self.entries("nodes"), self.scene_roots()
        seen: set[int] = set()
        while queue:
            index = queue.pop()
            if index in seen or not 0 <= index < len(nodes) or len(seen) > _MAX_NODES:
                raise ValueError(f"node {index} has several parents, or does not exist")
            seen.add(index)
            yield index
            queue.extend(nodes[index].get("children") or ())


def read_gltf(path: Path) -> GltfDocument:
    """Read the document and the buffers of a .glb or .gltf.

    Parameters
    ----------
    path : Path

    Raises
    ------
    InputError
        The file is cut off or damaged, a buffer is missing, or it needs an extension that cannot be read.
    """
    data = path.read_bytes()
    binary = None
    if data[:4] == b"glTF":
        data, binary = _chunks(path, data)
    elif path.suffix.lower() == ".glb":
        raise InputError(f"{path}: cannot be read as a mesh; it does not begin as a .glb file does")
    try:
        head = json.loads(data.decode("utf-8-sig"))
    except (ValueError, RecursionError) as error:
        reason = " ".join(str(error).split())[:120]
        raise InputError(f"{path}: cannot be read as a mesh; cut off or damaged JSON ({reason})") from error
    if not isinstance(head, dict):
        raise InputError(f"{path}: cannot be read as a mesh; its JSON is no object")
    version = str((head.get("asset") or {}).get("version", "2.0")) if isinstance(head.get("asset"), dict) else "2.0"
    if not version.startswith("2"):
        raise InputError(f"{path}: glTF {version[:20]} cannot be read; convert the file to glTF 2.0")
    _require_extensions(path, head)
    try:
        return GltfDocument(path, head, list(_buffers(path, head, binary)))
    except (KeyError, IndexError, TypeError, AttributeError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as a mesh; its buffers are damaged ({error})") from error


def _chunks(path: Path, data: bytes) -> tuple[bytes, bytes | None]:
    """Return the JSON and binary chunk of a .glb."""
    if len(data) < 20:
        raise InputError(f"{path}: cannot be read as a mesh; the file is cut off after {len(data)} bytes")
    version, length, text_length = struct.unpack_from("<III", data, 4)
    if version != 2:
        raise InputError(f"{path}: glTF {version} cannot be read; convert the file to glTF 2.0")
    if length > len(data) or 20 + text_length > len(data):
        raise InputError(
            f"{path}: the file is cut off: its header announces {max(length, 20 + text_length)} bytes, but {len(data)} "
            "are there; save or copy it again"
        )
    text, at = data[20 : 20 + text_length], 20 + text_length
    while at + 8 <= len(data):
        size, kind = struct.unpack_from("<I4s", data, at)
        if kind == b"BIN\0":
            return text, data[at + 8 : at + 8 + size]
        at += 8 + size
    return text, None


def _require_extensions(path: Path, head: dict[str, Any]) -> None:
    """Refuse files that need an extension which is neither read nor about materials only."""
    required = head.get("extensionsRequired") or []
    for name in required if isinstance(required, list) else []:
        readable = name in _READABLE_EXTENSIONS or str(name).startswith("KHR_materials_")
        if not readable:
            raise InputError(
                f"{path}: needs the glTF extension {str(name)[:80]!r}, which cannot be read; save the file without it"
            )


def _buffers(path: Path, head: dict[str, Any], binary: bytes | None) -> Iterator[bytes]:
    """Yield the content of all buffers."""
    for index, entry in enumerate(head.get("buffers") or []):
        uri = entry.get("uri")
        if uri is None:
            if index or binary is None:
                raise InputError(f"{path}: cannot be read as a mesh; buffer {index} has no content")
            data = binary
        else:
            try:
                data = read_uri(path, uri)
            except (OSError, binascii.Error) as error:
                raise InputError(f"{path}: cannot be read as a mesh; buffer {index} is missing ({error})") from error
        if len(data) < entry["byteLength"]:
            raise InputError(
                f"{path}: buffer {index} is cut off: {entry['byteLength']} bytes are announced, {len(data)} are there"
            )
        yield data


def read_uri(path: Path, uri: str) -> bytes:
    """Return the content of a data URI or of a file beside `path`."""
    if uri.startswith("data:"):
        return base64.b64decode(uri.split(",", 1)[1])
    return read_beside(path, uri)
