"""Rotations and registration by a similarity."""

from __future__ import annotations

import numpy as np
import pytest

from slime3d.geometry.registration import register_similarity, rotations
from slime3d.geometry.surface_sampling import sample_surface
from tests.slime3d.figures import figure
from tests.slime3d.shapes import moved


def test_search_registers_rotated_mesh(standing, cheering):
    """A lying mesh is registered when rotations are searched."""
    one, two = (sample_surface(mesh, 2000) for mesh in (standing[0], moved(cheering[0], rotations()[17])))
    assert np.abs(register_similarity(one, two, search=True).turn @ rotations()[17] - np.eye(3)).max() < 0.3
    assert np.abs(register_similarity(one, two, search=False).turn @ rotations()[17] - np.eye(3)).max() > 0.5


def test_registration_recovers_similarity():
    """Registration recovers a similarity."""
    mesh, _ = figure(arms=(0.9, -0.3))
    slight = np.linalg.qr(np.eye(3) + 0.1 * np.random.default_rng(1).normal(size=(3, 3)))[0]
    slight *= np.sign(np.diag(slight))
    one, two = sample_surface(mesh, 5000), sample_surface(moved(mesh, slight, 2.5, [1.0, -3.0, 4.0]), 5000)
    found = register_similarity(one, two, search=False)
    np.testing.assert_allclose(found(two.points), one.points, atol=0.02)
    assert found.scale == pytest.approx(0.4, rel=0.02)
    assert np.linalg.det(found.turn) == pytest.approx(1)


def test_24_rotations_identity_first():
    """There are 24 rotations, and the identity comes first."""
    all_of_them = rotations()
    assert len(all_of_them) == 24
    np.testing.assert_array_equal(all_of_them[0], np.eye(3))
    assert all(np.linalg.det(turn) == pytest.approx(1) for turn in all_of_them)
    assert len({turn.tobytes() for turn in np.array(all_of_them) + 0.0}) == 24
