"""Face adjacency, connected components and bridges between shells."""

from __future__ import annotations

import numpy as np
import pytest

from slime3d.geometry.face_graph import connected_components, face_adjacency, shell_bridges
from tests.slime3d.shapes import make_mesh, two_shells


def test_cube_adjacency_across_split_vertices(cube):
    """A cube's faces touch across split vertices."""
    split = make_mesh(cube.vertices[cube.faces].reshape(-1, 3), np.arange(36).reshape(-1, 3))
    edges = face_adjacency(split)
    assert len(edges.pairs) == 18
    assert np.isclose(edges.angle, 0).sum() == 6
    assert np.isclose(edges.angle, np.pi / 2).sum() == 12
    assert not edges.concave.any()


@pytest.mark.parametrize("damage", ["none", "inside out", "mixed"])
def test_l_shape_has_single_concave_edge(damage):
    """The notch of an L is its only concave edge."""
    outline = np.array([[0, 0], [2, 0], [2, 1], [1, 1], [1, 2], [0, 2]], float)
    pieces = [[0, 1, 2], [0, 2, 3], [0, 3, 4], [0, 4, 5]]
    low, high = np.c_[outline, np.zeros(6)], np.c_[outline, np.ones(6)]
    faces = [p[::-1] for p in pieces] + [[i + 6 for i in p] for p in pieces]
    for i in range(6):
        j = (i + 1) % 6
        faces += [[i, j, j + 6], [i, j + 6, i + 6]]
    faces = np.array(faces)
    if damage == "inside out":
        faces = faces[:, ::-1]
    elif damage == "mixed":
        faces[3] = faces[3][::-1]
    mesh = make_mesh(np.concatenate([low, high]), faces)
    edges = face_adjacency(mesh)
    bent = edges.angle > 1e-6
    assert len(edges.pairs) == 30
    np.testing.assert_allclose(edges.angle[bent], np.pi / 2)
    assert (edges.concave & bent).sum() == 1
    notch = edges.pairs[edges.concave & bent][0]
    touched = mesh.vertices[mesh.faces[notch]].reshape(-1, 3)
    assert sum((np.abs(touched[:, :2] - [1, 1]) < 1e-9).all(1)) >= 3


def test_nonmanifold_edge_faces_chained():
    """More than two faces at an edge are chained."""
    vertices = [[0, 0, 0], [0, 0, 1], [1, 0, 0], [0, 1, 0], [-1, 0, 0]]
    mesh = make_mesh(vertices, [[0, 1, 2], [0, 1, 3], [1, 0, 4]])
    assert face_adjacency(mesh).pairs.tolist() == [[0, 1], [1, 2]]


def test_degenerate_faces_keep_neighbours_connected():
    """Faces without area keep their neighbours connected."""
    mesh = make_mesh(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.5, 0.5, 0], [1, 1, 0]],
        [[0, 1, 2], [1, 3, 2], [1, 4, 3], [3, 4, 2], [1, 1, 4]],
    )
    edges = face_adjacency(mesh)
    assert np.isfinite(edges.angle).all()
    assert (edges.angle == 0).all()
    assert connected_components(5, edges.pairs)[:4].tolist() == [0, 0, 0, 0]
    points = make_mesh([[0, 0, 0], [1, 0, 0], [0, 1, 0]], [[0, 0, 1], [0, 0, 2]])
    assert not len(face_adjacency(points).pairs)  # they share a corner, no edge


def test_shells_bridged_at_closest_faces():
    """Shells are bridged where they are closest."""
    mesh = two_shells(0.1)
    shell = connected_components(len(mesh.faces), face_adjacency(mesh).pairs)
    assert shell.max() == 1
    pairs, distance = shell_bridges(mesh, shell)
    assert len(pairs)
    assert (shell[pairs[:, 0]] != shell[pairs[:, 1]]).all()
    middles = mesh.middles()
    np.testing.assert_allclose(distance, np.linalg.norm(middles[pairs[:, 0]] - middles[pairs[:, 1]], axis=1))
    assert distance.min() < 0.4
