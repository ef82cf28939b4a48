"""PLY files of polygons, colours and wrong counts."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from slime3d.io.mesh import load_mesh
from slimecore.errors import InputError

PLACES = [(i % 3, i // 3, 0) for i in range(9)]
POLYGONS = [[0, 1, 4, 3], [1, 2, 4], [3, 4, 7, 6], [4, 5, 8], [0, 3, 6, 7, 8, 5, 2, 1]]
COLORS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]


def ply(form, polygons=POLYGONS, announced=None, colors=False):
    """A PLY of the given form."""
    head = f"ply\nformat {form} 1.0\nelement vertex 9\nproperty float x\nproperty float y\nproperty float z\n"
    head += f"element face {announced or len(polygons)}\nproperty list uchar int vertex_indices\n"
    head += "".join(f"property uchar {name}\n" for name in ("red", "green", "blue")) if colors else ""
    head += "end_header\n"
    tones = COLORS if colors else [()] * len(polygons)
    rows = [(len(p), *p, *tone) for p, tone in zip(polygons, tones, strict=False)]
    if form == "ascii":
        return (head + "".join(" ".join(map(str, row)) + "\n" for row in [*PLACES, *rows])).encode()
    order = "<" if "little" in form else ">"
    body = np.array(PLACES, order + "f4").tobytes()
    for p, tone in zip(polygons, tones, strict=False):
        body += struct.pack(f"{order}B{len(p)}i", len(p), *p) + bytes(tone)
    return head.encode() + body


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian", "binary_big_endian"])
def test_mixed_polygons_with_colours(tmp_path, form):
    """Polygons are cut where they stand, and their triangles keep their colour."""
    (tmp_path / "m.ply").write_bytes(ply(form, colors=True))
    mesh = load_mesh(tmp_path / "m.ply")
    expected = [[p[0], p[i], p[i + 1]] for p in POLYGONS for i in range(1, len(p) - 1)]
    assert (mesh.vertices[mesh.faces] @ [1, 3, 0]).tolist() == expected
    tones = [tone for p, tone in zip(POLYGONS, COLORS, strict=True) for _ in range(len(p) - 2)]
    assert mesh.appearance.colors[:, 0].tolist() == [list(tone) for tone in tones]
    assert mesh.notes == ("m.ply: 3 polygons are cut into triangles where they stand; labels count triangles",)


def test_bytes_behind_data_are_noted(tmp_path):
    """A byte behind the data makes no mesh unreadable."""
    (tmp_path / "m.ply").write_bytes(ply("binary_little_endian", [[0, 1, 4], [0, 4, 3]]) + b"\n")
    mesh = load_mesh(tmp_path / "m.ply")
    assert len(mesh.faces) == 2
    assert "1 bytes" in mesh.notes[0]


@pytest.mark.parametrize("form", ["ascii", "binary_little_endian"])
def test_cut_ply_is_refused(tmp_path, form):
    """A file with fewer faces than it announces is refused."""
    (tmp_path / "m.ply").write_bytes(ply(form, [[0, 1, 4], [0, 4, 3]], announced=3))
    with pytest.raises(InputError, match="announces 3 of element face, but 2 are there"):
        load_mesh(tmp_path / "m.ply")
