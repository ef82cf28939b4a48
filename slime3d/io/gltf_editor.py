"""Changes of a glTF document: added arrays, notes, and the file of the result."""

from __future__ import annotations

import json
import struct

import numpy as np

from slime3d.io.gltf_document import COMPONENT_TYPES, GltfDocument
from slimecore.array_types import Array

__all__ = ["FLOAT", "UNSIGNED_INT", "GltfEditor"]

FLOAT, UNSIGNED_INT = 5126, 5125
_ARRAY_TYPES = {1: "SCALAR", 2: "VEC2", 3: "VEC3", 4: "VEC4"}


class GltfEditor:
    """Changes of a document, and the bytes that they add.

    Parameters
    ----------
    document : GltfDocument
        Its `head` is changed in place.
    """

    def __init__(self, document: GltfDocument) -> None:
        self.document = document
        self.head = document.head
        self.changed = False
        self.notes: list[str] = []
        self._added = bytearray()

    def as_glb(self) -> bytes:
        """Return the document as a .glb with one buffer."""
        blob = bytearray()
        offsets = []
        for data in self.document.buffers:
            blob += b"\0" * (-len(blob) % 4)
            offsets.append(len(blob))
            blob += data
        blob += b"\0" * (-len(blob) % 4)
        offsets.append(len(blob))
        blob += self._added
        blob += b"\0" * (-len(blob) % 4)
        for view in self.document.entries("bufferViews"):
            view["byteOffset"] = view.get("byteOffset", 0) + offsets[view["buffer"]]
            view["buffer"] = 0
        self.head["buffers"] = [{"byteLength": len(blob)}]
        text = json.dumps(self.head).encode()
        text += b" " * (-len(text) % 4)
        start = struct.pack("<4sII", b"glTF", 2, 28 + len(text) + len(blob)) + struct.pack("<I4s", len(text), b"JSON")
        return start + text + struct.pack("<I4s", len(blob), b"BIN\0") + bytes(blob)

    def add_bytes(self, data: bytes) -> int:
        """Add a buffer view and return its index."""
        self._added += b"\0" * (-len(self._added) % 4)
        views = self.head.setdefault("bufferViews", [])
        views.append({"buffer": len(self.document.buffers), "byteOffset": len(self._added), "byteLength": len(data)})
        self._added += data
        self.changed = True
        return len(views) - 1

    def add_floats(self, table: Array) -> int:
        """Add an accessor of float32 and return its index."""
        return self.add_array(table.astype("<f4"), FLOAT)

    def add_array(self, table: Array, component: int, *, normalized: bool = False) -> int:
        """Add an accessor and return its index.

        Parameters
        ----------
        table : (n, k) array
            Of the type that `component` says.
        component : int
            Component type of glTF.
        normalized : bool
        """
        accessors = self.head.setdefault("accessors", [])
        entry = {"componentType": component, "count": len(table), "type": _ARRAY_TYPES[table.shape[1]]}
        entry["bufferView"] = self.add_bytes(np.ascontiguousarray(table).tobytes())
        if normalized:
            entry["normalized"] = True
        accessors.append(entry)
        return len(accessors) - 1

    def values(self, accessor: int) -> Array:
        """Return the numbers of an accessor, also of one added here."""
        entry = self.document.entries("accessors")[accessor]
        view = entry.get("bufferView")
        if view is not None and self.document.entries("bufferViews")[view]["buffer"] == len(self.document.buffers):
            offset = self.document.entries("bufferViews")[view]["byteOffset"]
            width = next(width for width, name in _ARRAY_TYPES.items() if name == entry["type"])
            kind = np.dtype("<" + COMPONENT_TYPES[entry["componentType"]])
            flat = np.frombuffer(bytes(self._added), kind, entry["count"] * width, offset)
            return flat.reshape(-1, width).astype(np.float64)
        if self.document.is_compressed(accessor):
            raise ValueError("compressed geometry with skins, morphs or texture transforms; decompress the file")
        return self.document.values(accessor)

    def note(self, text: str) -> None:
        """Add a note, once."""
        if text not in self.notes:
            self.notes.append(text)
