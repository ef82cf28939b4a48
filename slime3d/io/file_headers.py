"""Headers of mesh files, read before loading: face counts, required decoders, and colours to repair."""

from __future__ import annotations

import io
import json
import os
import re
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slimecore.errors import InputError

__all__ = [
    "declared_face_count",
    "free_memory",
    "gltf_fans",
    "gltf_head",
    "original_names",
    "repaired_gltf",
    "require_decoder",
    "require_memory",
]

_BYTES_PER_FACE = 2000  # peak memory of `slime3d run`: 1.2 KB at 0.5 million faces, rounded up as factors grow faster
_TEXT_FACE_MARKERS = {".obj": (b"\nf ", 1 << 20), ".stl": (b"endfacet", 1 << 20)}
_BLOCK_BYTES = 1 << 16
_TRIANGLES, _FAN, _UNSIGNED_SHORT = 4, 6, 5123  # glTF primitive modes, and a component type


def gltf_head(path: Path) -> dict[str, Any]:
    """Read the JSON document of a .glb or .gltf, empty for other or invalid files."""
    if path.suffix.lower() not in {".glb", ".gltf"}:
        return {}
    try:
        with path.open("rb") as stream:
            start = stream.read(20)
            if start[:4] == b"glTF" and len(start) == 20:
                data = stream.read(struct.unpack_from("<I", start, 12)[0])
            else:
                data = start + stream.read()
        head = json.loads(data)
    except (OSError, ValueError, RecursionError):
        return {}  # the loader reports the error
    return head if isinstance(head, dict) else {}


def gltf_fans(head: Mapping[str, Any]) -> int:
    """Count the triangle fans of a glTF document, which trimesh drops."""
    meshes = [mesh for mesh in head.get("meshes") or () if isinstance(mesh, Mapping)]
    return sum(primitive.get("mode") == _FAN for mesh in meshes for primitive in mesh.get("primitives") or ())


def original_names(head: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Replace the random suffixes that trimesh gives the primitives of a mesh by numbers."""
    recorded = {
        str(entry.get("name")) for key in ("nodes", "meshes") for entry in head.get(key) or () if entry.get("name")
    }
    counts: dict[str, int] = {}
    restored = []
    for name in names:
        stripped = re.sub(r"_[0-9a-z]{6}$", "", name)
        if not head or name in recorded or stripped == name or stripped not in recorded:
            restored.append(name)
            continue
        counts[stripped] = counts.get(stripped, -1) + 1
        restored.append(f"{stripped}.{counts[stripped]}")
    return restored


def require_decoder(path: Path, head: Mapping[str, Any]) -> None:
    """Refuse compressed geometry without a decoder, as trimesh loads Draco geometry as zeros and only logs it.

    Raises
    ------
    InputError
        The file needs DracoPy and it is not installed, or it needs a meshopt decoder.
    """
    if "EXT_meshopt_compression" in head.get("extensionsRequired", ()):
        raise InputError(
            f"{path}: meshopt-compressed, which cannot be read; decompress it (gltf-transform copy IN OUT)"
        )
    if "KHR_draco_mesh_compression" in head.get("extensionsUsed", ()):
        try:
            import DracoPy  # noqa: F401
        except ImportError as error:
            raise InputError(
                f"{path}: Draco-compressed, and its decoder is not installed; pip install DracoPy, or decompress the "
                "file (gltf-transform copy IN OUT)"
            ) from error


def require_memory(path: Path, faces: int) -> None:
    """Refuse a mesh whose faces need more memory than is free.

    Raises
    ------
    InputError
        Names the number of faces, and the required and free memory.
    """
    free = free_memory()
    if free is not None and faces * _BYTES_PER_FACE > free:
        raise InputError(
            f"{path}: {faces} faces need about {faces * _BYTES_PER_FACE / 2**30:.1f} GiB of memory and "
            f"{free / 2**30:.1f} GiB are free; decimate the mesh or free memory"
        )


def free_memory() -> int | None:
    """Return the free memory of the machine or of its container in bytes, None if unknown."""
    amounts = []
    try:
        available = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"))
        amounts = [int(available[1]) * 1024] if available else []
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        statistics = (group / "memory.stat").read_text(encoding="ascii") if limit != "max" else ""
        cached = re.findall(r"^(?:in)?active_file (\d+)$", statistics, re.MULTILINE)  # freed by the kernel on demand
        amounts.append(max(0, int(limit) - int(used) + sum(map(int, cached))))
    except (OSError, ValueError):  # no such file, or "max": no limit
        pass
    if amounts:
        return min(amounts)
    try:
        return os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None


def declared_face_count(path: Path, head: Mapping[str, Any]) -> int:
    """Estimate a lower bound of the face count from a file's header or from samples of its text, 0 if unknown.

    Loading needs memory too, so files that are far too large are refused before.
    """
    try:
        if head:
            return _gltf_face_count(head)
        with path.open("rb") as stream:
            start = stream.read(4096)
        count = _face_count_in_header(path.suffix.lower(), start, path.stat().st_size)
        return _estimate_face_count(path, *_TEXT_FACE_MARKERS[path.suffix.lower()]) if count < 0 else count
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error):
        return 0


def _face_count_in_header(suffix: str, start: bytes, size: int) -> int:
    """Return the face count in the first bytes of a file, 0 if unknown, -1 if faces are lines of text."""
    if suffix == ".ply":
        match = re.search(rb"element\s+face\s+(\d+)", start)
        return int(match[1]) if match else 0
    if suffix == ".off":
        words = [word for line in start.split(b"\n") for word in line.split(b"#")[0].split()]
        return int(words[2] if words[0] == b"OFF" else 0)
    if suffix == ".stl":
        count = int(struct.unpack_from("<I", start, 80)[0])
        return count if size == 84 + 50 * count else -1  # text format
    return -1 if suffix == ".obj" else 0


def _estimate_face_count(path: Path, line: bytes, min_bytes: int) -> int:
    """Estimate the faces of a text file with a `line` marker each, from blocks over the file, reduced by 10 %.

    The estimate is 0 for files below `min_bytes`.
    """
    size, blocks, hits = path.stat().st_size, 0, 0
    if size < min_bytes:
        return 0
    with path.open("rb") as stream:
        for offset in range(0, size, max(_BLOCK_BYTES, size // 64)):
            stream.seek(offset)
            data = stream.read(_BLOCK_BYTES)
            blocks, hits = blocks + len(data), hits + data.count(line)
    return int(0.9 * hits / max(1, blocks) * size)


def _gltf_face_count(head: Mapping[str, Any]) -> int:
    """Count the triangles of a glTF document."""
    total = 0
    for mesh in head.get("meshes", ()):
        for primitive in mesh["primitives"]:
            accessor = primitive.get("indices", primitive["attributes"]["POSITION"])
            if primitive.get("mode", _TRIANGLES) == _TRIANGLES:
                total += int(head["accessors"][accessor]["count"]) // 3
    return total


def repaired_gltf(path: Path, head: dict[str, Any]) -> io.BytesIO | None:
    """Return a .glb with repaired vertex colours, or None if no repair is needed.

    trimesh truncates 16-bit vertex colours to their low bytes on primitives without a material. They get
    glTF's default material, which changes nothing else.
    """
    if path.suffix.lower() != ".glb":
        return None
    try:
        without_material = [p for mesh in head.get("meshes", ()) for p in mesh["primitives"] if "material" not in p]
        colored = [p for p in without_material if "COLOR_0" in p["attributes"]]
        sixteen_bit = [
            p for p in colored if head["accessors"][p["attributes"]["COLOR_0"]]["componentType"] == _UNSIGNED_SHORT
        ]
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    if not sixteen_bit:
        return None
    materials = head.setdefault("materials", [])
    for primitive in sixteen_bit:
        primitive["material"] = len(materials)
    materials.append({})
    data = path.read_bytes()
    rest = data[20 + struct.unpack_from("<I", data, 12)[0] :]
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 4)
    start = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON")
    return io.BytesIO(start + text + rest)
