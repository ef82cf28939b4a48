"""The random walk on the face graph."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

import slime3d.labelling.random_walk as walk_module
from slime3d.geometry.face_graph import connected_components, face_adjacency
from slime3d.labelling.random_walk import ANNOTATED, FILLED, WALKED, WalkConfig, random_walk_labels
from slime3d.labelling.votes import FaceVotes
from slimecore.errors import ConfigError, InputError
from tests.slime3d.shapes import from_trimesh, make_mesh, two_shells


def naive_walk(mesh, votes, config):
    """Gauss-Seidel: every free face becomes the mean of its neighbours, again and again."""
    bonds = walk_module._edge_weights(mesh, config).toarray()
    sums = votes.sum(1)
    x = np.divide(votes, sums[:, None], out=np.zeros_like(votes), where=sums[:, None] > 0)
    for _ in range(1200):
        for face in np.flatnonzero(sums == 0):
            x[face] = bonds[face] @ x / bonds[face].sum()
    return x


def test_walk_matches_naive_relaxation(monkeypatch):
    """The walk agrees with relaxation."""
    mesh = from_trimesh(trimesh.creation.icosphere(subdivisions=1))
    votes = np.zeros((len(mesh.faces), 3))
    votes[3, 0], votes[40, 1], votes[41, 2], votes[70] = 5, 2, 1, (1, 0, 3)
    monkeypatch.setattr(walk_module, "CONVEX_SCALE_RADIANS", 0.5)
    config = WalkConfig(concave_scale=0.5)
    found = random_walk_labels(mesh, [FaceVotes(votes, is_fixed=True)], config)
    chance = naive_walk(mesh, votes, config)
    np.testing.assert_array_equal(found.rows, chance.argmax(1))
    np.testing.assert_allclose(found.confidence, chance.max(1), atol=1e-4)
    np.testing.assert_array_equal(found.source == ANNOTATED, votes.sum(1) > 0)


def test_solve_beyond_memory_error_single_line(cube, monkeypatch):
    """A solve beyond memory is refused in a single line."""
    import scipy.sparse.linalg

    def full(*_, **__):
        raise MemoryError

    monkeypatch.setattr(scipy.sparse.linalg, "splu", full)
    votes = np.zeros((12, 2))
    votes[0, 1] = 1
    with pytest.raises(InputError, match="11 faces are too many"):
        random_walk_labels(cube, [FaceVotes(votes, is_fixed=True)])


def test_borders_follow_concave_edges(dumbbell):
    """Parts meet where the surface bends inwards.

    A seed on each bulb and a seed on the bar: the border runs along the neck, not half way between the seeds.
    """
    x = dumbbell.middles()[:, 0]
    votes = np.zeros((len(x), 3))
    votes[np.abs(x + 0.99).argmin(), 0] = 1
    votes[np.abs(x).argmin(), 1] = 1
    votes[np.abs(x - 0.99).argmin(), 2] = 1
    rows = random_walk_labels(dumbbell, [FaceVotes(votes, is_fixed=True)]).rows
    truth = np.where(np.abs(x) < 0.54, 1, np.where(x < 0, 0, 2))
    assert (rows == truth).mean() > 0.95


def test_annotated_faces_keep_majority(cube):
    """Annotated faces keep their majority label."""
    votes = np.zeros((12, 2))
    votes[0], votes[1] = (3, 4), (4, 3)
    found = random_walk_labels(cube, [FaceVotes(votes, is_fixed=True)])
    assert found.rows[:2].tolist() == [1, 0]
    np.testing.assert_allclose(found.confidence[:2], 4 / 7, rtol=1e-6)


def test_uncertain_votes_attract_without_fixing(cube):
    """Uncertain votes attract labels but do not fix them."""
    sure, guess = np.zeros((12, 2)), np.zeros((12, 2))
    sure[0, 0] = 1
    guess[0, 1] = 100  # a guess about an annotated face is not asked
    guess[6, 1] = 0.5
    found = random_walk_labels(cube, [FaceVotes(sure, is_fixed=True), FaceVotes(guess, is_fixed=False)])
    assert found.rows[0] == 0
    assert found.source[6] == WALKED
    assert 0 < found.confidence[6] < 1
    stronger = random_walk_labels(cube, [FaceVotes(sure, is_fixed=True), FaceVotes(100 * guess, is_fixed=False)])
    assert stronger.rows[6] == 1
    assert (stronger.rows == 1).sum() >= (found.rows == 1).sum()


@settings(max_examples=20, deadline=None)
@given(st.permutations(range(4)), st.integers(0, 2**32 - 1))
def test_walk_independent_of_part_order(order, seed):
    """The order of parts does not matter."""
    mesh = from_trimesh(trimesh.creation.icosphere(subdivisions=1))
    rng = np.random.default_rng(seed)
    votes = rng.integers(0, 5, (len(mesh.faces), 4)) * (rng.random((len(mesh.faces), 1)) < 0.2)
    votes[7, 2] = 1
    one = random_walk_labels(mesh, [FaceVotes(votes.astype(float), is_fixed=True)])
    two = random_walk_labels(mesh, [FaceVotes(votes[:, order].astype(float), is_fixed=True)])
    np.testing.assert_allclose(one.confidence, two.confidence, atol=1e-5)


@pytest.mark.parametrize("gap", [0.1, 50.0])
def test_unannotated_shell_takes_neighbour_label(gap):
    """A shell without annotation takes its neighbour's label."""
    mesh = two_shells(gap)
    votes = np.zeros((len(mesh.faces), 2))
    votes[4, 1] = 1
    found = random_walk_labels(mesh, [FaceVotes(votes, is_fixed=True)])
    assert (found.rows == 1).all()
    assert set(found.source[320:]) == {WALKED}


def test_unbridged_faces_filled_from_nearest(monkeypatch):
    """Faces that no bridge reaches are filled from the nearest face."""
    mesh = two_shells(1.0)
    monkeypatch.setattr(walk_module, "shell_bridges", lambda mesh, shell: (np.zeros((0, 2), int), np.zeros(0)))
    votes = np.zeros((len(mesh.faces), 3))
    near = mesh.middles()[:320, 0].argmax()
    votes[near, 2], votes[mesh.middles()[:320, 0].argmin(), 1] = 1, 1
    found = random_walk_labels(mesh, [FaceVotes(votes, is_fixed=True)])
    assert set(found.source[320:]) == {FILLED}
    assert (found.rows[320:] == 2).all()
    assert set(found.source[:320]) == {ANNOTATED, WALKED}


def test_walk_crosses_t_junction():
    """Both sides of a T-junction are reached.

    A wall has a vertex in the middle of the border of its right half: no edge is shared, the bridge joins them.
    """
    vertices = [[0, 0, 0], [1, 0, 0], [1, 2, 0], [0, 2, 0], [1, 1, 0], [2, 0, 0], [2, 1, 0], [2, 2, 0]]
    faces = [[0, 1, 2], [0, 2, 3], [1, 5, 6], [1, 6, 4], [4, 6, 7], [4, 7, 2]]
    mesh = make_mesh(vertices, faces)
    assert connected_components(6, face_adjacency(mesh).pairs).max() == 1
    votes = np.zeros((6, 2))
    votes[0, 1] = 1
    found = random_walk_labels(mesh, [FaceVotes(votes, is_fixed=True)])
    assert found.rows.tolist() == [1] * 6
    assert set(found.source) == {ANNOTATED, WALKED}


def test_no_votes_refused(cube):
    """A mesh without votes is an error."""
    with pytest.raises(InputError, match="no face has any evidence"):
        random_walk_labels(cube, [FaceVotes(np.zeros((12, 2)), is_fixed=True)])
    with pytest.raises(ConfigError, match=r"walk\.concave_scale"):
        WalkConfig(concave_scale=0)
