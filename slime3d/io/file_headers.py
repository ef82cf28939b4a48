"""What mesh files say of themselves before they are loaded: faces to expect, decoders they need, colours to mend."""

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

BYTES_A_FACE = 2000  # peak of `slime3d run`: 1.2 KB on half a million faces, rounded up as factors grow faster
_TEXT_FACES = {".obj": (b"\nf ", 1 << 20), ".stl": (b"endfacet", 1 << 20)}
_BLOCK = 1 << 16
_TRIANGLES, _FAN, _WIDE = 4, 6, 5123  # glTF's modes of triangles and fans, and component type of 16-bit integers


def gltf_head(path: Path) -> dict[str, Any]:
    """The JSON document of a .glb or .gltf; empty for other files and for what is none."""
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
    except (OSError, ValueError):
        return {}  # loading it will say what is wrong
    return head if isinstance(head, dict) else {}


def gltf_fans(head: Mapping[str, Any]) -> int:
    """Primitives of a glTF document that are triangle fans, which trimesh leaves out."""
    meshes = [mesh for mesh in head.get("meshes") or () if isinstance(mesh, Mapping)]
    return sum(one.get("mode") == _FAN for mesh in meshes for one in mesh.get("primitives") or ())


def original_names(head: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Names of nodes without what trimesh draws at random for the primitives of one mesh; they are numbered instead."""
    given = {str(one.get("name")) for key in ("nodes", "meshes") for one in head.get(key) or () if one.get("name")}
    counts: dict[str, int] = {}
    found = []
    for name in names:
        own = re.sub(r"_[0-9a-z]{6}$", "", name)
        if not head or name in given or own == name or own not in given:
            found.append(name)
            continue
        counts[own] = counts.get(own, -1) + 1
        found.append(f"{own}.{counts[own]}")
    return found


def require_decoder(path: Path, head: Mapping[str, Any]) -> None:
    """Refuse compressed geometry without a decoder: Draco's loads as zeros, with no more than a line in a log.

    Raises
    ------
    InputError
        The file needs DracoPy, which is not installed, or meshopt's decoder, which trimesh has not.
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
    """Refuse more faces than there is memory for.

    Raises
    ------
    InputError
        With the number of faces and both amounts.
    """
    free = free_memory()
    if free is not None and faces * BYTES_A_FACE > free:
        raise InputError(
            f"{path}: {faces} faces need about {faces * BYTES_A_FACE / 2**30:.1f} GiB of memory and "
            f"{free / 2**30:.1f} GiB are free; decimate the mesh or free memory"
        )


def free_memory() -> int | None:
    """Bytes a process can still take, of the machine or of its container; None where the system does not say."""
    amounts = []
    try:
        found = re.search(r"MemAvailable:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"))
        amounts = [int(found[1]) * 1024] if found else []
        group = Path("/sys/fs/cgroup")
        limit, used = ((group / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        told = (group / "memory.stat").read_text(encoding="ascii") if limit != "max" else ""
        cached = re.findall(r"^(?:in)?active_file (\d+)$", told, re.MULTILINE)  # given up as soon as it is asked for
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
    """Faces (at least) that a file will turn out to hold, as far as a look into it tells; 0: it does not.

    Loading takes memory too, so what is far too large is better refused before.
    """
    try:
        if head:
            return _gltf_faces(head)
        with path.open("rb") as stream:
            start = stream.read(4096)
        found = _counted(path.suffix.lower(), start, path.stat().st_size)
        return _sampled(path, *_TEXT_FACES[path.suffix.lower()]) if found < 0 else found
    except (OSError, ValueError, KeyError, IndexError, TypeError, AttributeError, struct.error):
        return 0


def _counted(suffix: str, start: bytes, size: int) -> int:
    if suffix == ".ply":
        found = re.search(rb"element\s+face\s+(\d+)", start)
        return int(found[1]) if found else 0
    if suffix == ".off":
        words = [word for line in start.split(b"\n") for word in line.split(b"#")[0].split()]
        return int(words[2] if words[0] == b"OFF" else 0)
    if suffix == ".stl":
        count = int(struct.unpack_from("<I", start, 80)[0])
        return count if size == 84 + 50 * count else -1  # a text
    return -1 if suffix == ".obj" else 0


def _sampled(path: Path, line: bytes, least: int) -> int:
    """Faces of a text file that has a `line` for each: counted in blocks all over it, and a tenth taken off.

    A file of fewer than `least` bytes is not worth the question.
    """
    size, blocks, hits = path.stat().st_size, 0, 0
    if size < least:
        return 0
    with path.open("rb") as stream:
        for place in range(0, size, max(_BLOCK, size // 64)):
            stream.seek(place)
            data = stream.read(_BLOCK)
            blocks, hits = blocks + len(data), hits + data.count(line)
    return int(0.9 * hits / max(1, blocks) * size)


def _gltf_faces(head: Mapping[str, Any]) -> int:
    total = 0
    for mesh in head.get("meshes", ()):
        for primitive in mesh["primitives"]:
            corners = primitive.get("indices", primitive["attributes"]["POSITION"])
            if primitive.get("mode", _TRIANGLES) == _TRIANGLES:
                total += int(head["accessors"][corners]["count"]) // 3
    return total


def repaired_gltf(path: Path, head: dict[str, Any]) -> io.BytesIO | None:
    """A .glb that trimesh reads rightly; None where it does anyway.

    Vertex colours in 16 bits are cut to their low bytes where a primitive has no material, and kept where it has one:
    those without are given glTF's default material, which changes nothing else.
    """
    if path.suffix.lower() != ".glb":
        return None
    try:
        bare = [p for mesh in head.get("meshes", ()) for p in mesh["primitives"] if "material" not in p]
        colored = [p for p in bare if "COLOR_0" in p["attributes"]]
        wide = [p for p in colored if head["accessors"][p["attributes"]["COLOR_0"]]["componentType"] == _WIDE]
    except (KeyError, IndexError, TypeError, AttributeError):
        return None
    if not wide:
        return None
    materials = head.setdefault("materials", [])
    for primitive in wide:
        primitive["material"] = len(materials)
    materials.append({})
    data = path.read_bytes()
    rest = data[20 + struct.unpack_from("<I", data, 12)[0] :]
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 4)
    start = struct.pack("<4sIII4s", b"glTF", 2, 20 + len(text) + len(rest), len(text), b"JSON")
    return io.BytesIO(start + text + rest)
