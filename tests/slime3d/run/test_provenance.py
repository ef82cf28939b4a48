"""Files and settings that a result depends on."""

from __future__ import annotations

import json

from slime3d.run.provenance import provenance, referenced_files, results_stale_reason


def test_referenced_files_are_part_of_provenance(tmp_path):
    """Files that a mesh names count as the mesh."""
    obj, gltf = tmp_path / "m.obj", tmp_path / "m.gltf"
    obj.write_text("mtllib my paint.mtl\nv 0 0 0\nusemtl a\n")
    (tmp_path / "my paint.mtl").write_text("newmtl a\nmap_Kd -s 1 1 1 wood.png\n")
    uris = {"buffers": [{"uri": "m%201.bin"}, {"uri": "data:x"}, {}], "images": [{"uri": "t.png"}, {"bufferView": 0}]}
    gltf.write_text(json.dumps(uris))
    assert [p.name for p in referenced_files(obj)] == ["my paint.mtl", "wood.png"]
    assert [p.name for p in referenced_files(gltf)] == ["m 1.bin", "t.png"]
    gltf.write_text("[]")
    assert referenced_files(gltf) == referenced_files(tmp_path / "gone.obj") == []
    before = provenance(obj, {})
    (tmp_path / "wood.png").write_bytes(b"x")
    after = provenance(obj, {})
    assert {k for k in before if before[k] != after[k]} == {"mesh"}


def test_foreign_reports_are_stale(tmp_path):
    """Reports of other programs do not count as finished."""
    assert results_stale_reason(tmp_path / "x", {}) == "not made before"
    assert results_stale_reason(tmp_path, {}) == "not finished before"
    for text in ("", "[]", '{"files": []}', '{"made_of": 3, "files": []}'):
        (tmp_path / "report.json").write_text(text)
        assert "does not say" in results_stale_reason(tmp_path, {})


def test_textures_with_blanks_or_ply_referenced(tmp_path):
    """Textures named with blanks or in a PLY are referenced files.

    Else --resume would not see that a texture was painted over.
    """
    (tmp_path / "my wood.png").write_bytes(b"")
    (tmp_path / "m.obj").write_text("mtllib m.mtl\n")
    (tmp_path / "m.mtl").write_text("newmtl a\nmap_Kd -s 1 1 1 my wood.png\nmap_Bump gone.png\n")
    assert [p.name for p in referenced_files(tmp_path / "m.obj")] == ["m.mtl", "my wood.png", "gone.png"]
    text = "ply\nformat ascii 1.0\ncomment TextureFile bark 1.png\nend_header\ncomment TextureFile no.png\n"
    (tmp_path / "m.ply").write_text(text)
    assert [p.name for p in referenced_files(tmp_path / "m.ply")] == ["bark 1.png"]
