"""Polygons become triangles in place."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from slime3d.io.mesh import load_mesh
from slime3d.io.triangulation import triangulate

MIXED = [[0, 1, 4, 3], [1, 2, 4], [3, 4, 7, 6], [4, 5, 8], [4, 8, 7], [0, 3, 6, 7, 8, 5, 2]]


@pytest.mark.parametrize("polygons", [MIXED, [MIXED[0], MIXED[2]], [MIXED[5]] * 2], ids=["mixed", "quads", "large"])
@pytest.mark.parametrize("kind", ["obj", "off", "ply"])
def test_polygons_triangulated_in_place(tmp_path, kind, polygons):
    """Polygons are triangulated in place."""
    places = [(i % 3, i // 3, 0) for i in range(9)]
    lines = [" ".join(map(str, p)) for p in places]
    text = {
        "obj": "".join(f"v {p}\n" for p in lines) + "".join(f"f {' '.join(str(c + 1) for c in p)}\n" for p in polygons),
        "off": f"OFF\n9 {len(polygons)} 0\n" + "\n".join(lines + [" ".join(map(str, [len(p), *p])) for p in polygons]),
        "ply": "ply\nformat ascii 1.0\nelement vertex 9\nproperty float x\nproperty float y\nproperty float z\n"
        f"element face {len(polygons)}\nproperty list uchar int vertex_indices\nend_header\n"
        + "\n".join(lines + [" ".join(map(str, [len(p), *p])) for p in polygons])
        + "\n",
    }[kind]
    (tmp_path / f"m.{kind}").write_text(text)
    mesh = load_mesh(tmp_path / f"m.{kind}")
    expected = [[p[0], p[i], p[i + 1]] for p in polygons for i in range(1, len(p) - 1)]
    found = (mesh.vertices[mesh.faces] @ [1, 3, 0]).round().astype(int)
    assert [sorted(f) for f in found.tolist()] == [sorted(f) for f in expected]
    assert len(mesh.notes) == 1
    quads = trimesh.geometry.triangulate_quads(np.array([[0, 1, 2, 3], [4, 5, 6, 7]]))
    assert quads.tolist()[1] == [4, 5, 6]  # trimesh has its own function back


L_SHAPE = [(0, 0), (2, 0), (2, 1), (1, 1), (1, 2), (0, 2)]


@pytest.mark.parametrize("first", range(6))
@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1), (1, 0, 2)])
def test_concave_polygon_keeps_area(first, axes):
    """A concave polygon is cut inside its border, in every orientation, from every first corner."""
    places = np.array([(x, y, 0) for x, y in L_SHAPE[first:] + L_SHAPE[:first]], float)[:, axes]
    found = triangulate(np.arange(6), np.array([6]), places)
    a, b, c = (places[found.corners[:, i]] for i in range(3))
    normals = np.cross(b - a, c - a) / 2
    assert np.linalg.norm(normals, axis=1).sum() == pytest.approx(3)
    assert np.abs(normals.sum(0)).max() == pytest.approx(3)
    assert found.notes == ("1 polygons are cut into triangles where they stand; labels count triangles",)


def test_crossing_polygon_is_noted():
    """A polygon that crosses itself is noted."""
    star = np.array([(np.cos(t), np.sin(t), 0) for t in np.arange(5) * 4 * np.pi / 5])
    found = triangulate(np.arange(5), np.array([5]), star)
    assert len(found.corners) == 3
    bow = np.array([(0, 0, 0), (2, 2, 0), (2, 0, 0), (0, 1, 0)], float)
    assert "cross themselves" in triangulate(np.arange(4), np.array([4]), bow).notes[1]
