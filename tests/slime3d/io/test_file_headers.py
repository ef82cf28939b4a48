"""Headers of mesh files: announced faces, compression, memory."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
import trimesh

import slime3d.io.file_headers as headers
from slime3d.cli import main
from slime3d.io.file_headers import declared_face_count, gltf_head
from slime3d.io.mesh import load_mesh
from tests.slime3d.commands import refused


@pytest.mark.parametrize("suffix", ["ply", "off", "stl", "glb", "gltf"])
def test_declared_face_count_exact(tmp_path, suffix):
    """The header announces the number of faces."""
    path = tmp_path / f"m.{suffix}"
    ball = trimesh.creation.icosphere(subdivisions=2)
    if suffix == "gltf":
        for name, data in trimesh.exchange.gltf.export_gltf(trimesh.Scene(ball)).items():
            (tmp_path / (name if name != "model.gltf" else path.name)).write_bytes(data)
    else:
        ball.export(path)
    assert declared_face_count(path, gltf_head(path)) == len(load_mesh(path).faces) == 320


@pytest.mark.parametrize("kind", ["obj", "stl_ascii"])
def test_text_face_count_estimate_never_high(tmp_path, kind, monkeypatch):
    """Faces of long text files are estimated and never too many."""
    monkeypatch.setattr(headers, "_BLOCK_BYTES", 1 << 10)  # the blocks are few beside the file
    ball = trimesh.creation.icosphere(subdivisions=5)
    if kind == "obj":
        ball.visual = trimesh.visual.TextureVisuals(uv=np.random.default_rng(0).random((len(ball.vertices), 2)))
        ball.export(tmp_path / "m.obj", include_normals=True, digits=9)
        path = tmp_path / "m.obj"
    else:
        path = tmp_path / "m.stl"
        path.write_text(ball.export(file_type="stl_ascii"))
    assert path.stat().st_size > 1 << 20
    assert 0.75 * len(ball.faces) < declared_face_count(path, {}) <= len(ball.faces)
    short = tmp_path / f"short.{path.suffix[1:]}"
    short.write_text("f 1 2 3\n")
    assert declared_face_count(short, {}) == 0


@pytest.mark.parametrize("name", ["a.ply", "a.off", "a.stl", "a.glb", "a.gltf", "a.obj", "a.xyz"])
@pytest.mark.parametrize(
    "data", [b"", b"OFF", b"OFF\n1 x", b"\0" * 90, b"[1]", b'{"meshes": [{}]}', b"glTF" + b"\xff" * 30]
)
def test_damaged_files_declare_no_faces(tmp_path, name, data):
    """Damaged files announce no faces."""
    path = tmp_path / name
    path.write_bytes(data)
    assert declared_face_count(path, gltf_head(path)) == 0
    assert declared_face_count(tmp_path / f"gone{name}", {}) == 0


@pytest.mark.parametrize("kind", ["ply", "stl", "off", "glb"])
def test_oversized_mesh_refused_by_header(tmp_path, capsys, monkeypatch, kind):
    """Ten million faces are refused by the header.

    The files hold no faces at all: only the header is read.
    """
    count = 10_000_000
    head = {"meshes": [{"primitives": [{"attributes": {"POSITION": 0}}]}], "accessors": [{"count": 3 * count}]}
    text = json.dumps(head).encode()
    data = {
        "ply": f"ply\nformat ascii 1.0\nelement vertex 9\nelement face {count}\nend_header\n".encode(),
        "stl": b"\0" * 80 + struct.pack("<I", count),
        "off": f"OFF # many\n9 {count} 0\n".encode(),
        "glb": struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text,
    }[kind]
    path = tmp_path / f"m.{kind}"
    path.write_bytes(data)
    if kind == "stl":
        with path.open("r+b") as file:
            file.truncate(84 + 50 * count)  # sparse
    monkeypatch.setattr(headers, "free_memory", lambda: 8 << 30)
    assert main(["info", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "10000000 faces need about 18.6 GiB of memory and 8.0 GiB are free; decimate" in error


def test_file_cache_counts_as_free(monkeypatch):
    """Memory that the system uses as a cache counts as free.

    A container that has read large files is not full: the cache is given up as soon as memory is requested.
    """
    files = {
        "/proc/meminfo": "MemTotal: 9 kB\nMemAvailable:   16777216 kB\n",
        "/sys/fs/cgroup/memory.max": str(8 << 30),
        "/sys/fs/cgroup/memory.current": str(8 << 30),
        "/sys/fs/cgroup/memory.stat": f"anon 5\ninactive_file {5 << 30}\nactive_file {1 << 30}\ninactive_anon 7\n",
    }
    monkeypatch.setattr(headers.Path, "read_text", lambda self, encoding: files[str(self)])
    assert headers.free_memory() == 6 << 30
    files["/sys/fs/cgroup/memory.max"] = "max"
    assert headers.free_memory() == 16 << 30


def glb(head):
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 4)
    return struct.pack("<4sIIII", b"glTF", 2, 20 + len(text), len(text), 0x4E4F534A) + text


@pytest.mark.parametrize("suffix", ["glb", "gltf"])
def test_compression_without_decoder_named(tmp_path, capsys, suffix, monkeypatch):
    """Draco or meshopt compression without its decoder is named."""
    import sys

    monkeypatch.setitem(sys.modules, "DracoPy", None)
    head = {"asset": {"version": "2.0"}, "extensionsUsed": ["KHR_draco_mesh_compression"]}
    path = tmp_path / f"draco.{suffix}"
    path.write_bytes(glb(head) if suffix == "glb" else json.dumps(head).encode())
    refused(capsys, ["info", path], "pip install DracoPy")
    head = {"asset": {"version": "2.0"}, "extensionsRequired": ["EXT_meshopt_compression"]}
    path.write_bytes(glb(head) if suffix == "glb" else json.dumps(head).encode())
    refused(capsys, ["info", path], "meshopt-compressed, which cannot be read")


def test_free_memory_is_plausible():
    """Free memory is a plausible number."""
    free = headers.free_memory()
    assert free is None or 1e6 < free < 1e15
