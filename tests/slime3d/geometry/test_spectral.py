"""Spectra and distances against closed forms."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

import slime3d.geometry.spectral as spectral_module
from slime3d.geometry.spectral import spectrum, wave_kernel
from tests.slime3d.figures import figure
from tests.slime3d.shapes import from_trimesh, make_mesh


def test_sphere_spectrum_matches_closed_form():
    """The spectrum of a sphere matches its closed form."""
    shape = spectrum(from_trimesh(trimesh.creation.icosphere(4, radius=3.0)), 9)
    expected = 4 * np.pi * np.array([0, 2, 2, 2, 6, 6, 6, 6, 6])  # l (l + 1), scaled to area 1
    np.testing.assert_allclose(shape.values, expected, rtol=0.01, atol=1e-6)
    gram = (shape.functions * shape.mass[:, None]).T @ shape.functions
    np.testing.assert_allclose(gram, np.eye(9), atol=1e-6)
    assert shape.mass.sum() == pytest.approx(1)


def test_sphere_distances_match_closed_form():
    """Distances along a sphere match their closed form."""
    shape = spectrum(from_trimesh(trimesh.creation.icosphere(4)), 9)
    far = shape.distances(np.array([0]))[0]
    assert far.max() == pytest.approx(np.pi / np.sqrt(4 * np.pi), rel=0.1)  # along edges, hence somewhat longer


def test_disconnected_mesh_has_no_spectrum():
    """A mesh of several pieces has no spectrum."""
    balls = [trimesh.creation.icosphere(3).apply_translation([4 * i, 0, 0]) for i in range(2)]
    assert spectrum(from_trimesh(trimesh.util.concatenate(balls)), 9) is None
    assert spectrum(from_trimesh(trimesh.creation.box()), 9) is None


def test_clustered_mesh_keeps_spectrum(monkeypatch):
    """Fine meshes are clustered and keep their spectrum."""
    ball = from_trimesh(trimesh.creation.icosphere(5))
    monkeypatch.setattr(spectral_module, "_MAX_NODES", 2000)
    shape = spectrum(ball, 9)
    assert len(shape.points) <= 2000
    assert len(shape.node_of) == len(ball.vertices)
    np.testing.assert_allclose(shape.values[1:4], 8 * np.pi, rtol=0.1)


def test_close_sheets_stay_separate(monkeypatch):
    """Sheets that lie close stay separate when clustered."""
    t, w = np.meshgrid(np.linspace(0, 2, 161), np.linspace(0, 0.4, 33), indexing="ij")
    x, gap = np.where(t < 1, t, 2 - t), 0.004 * (t > 1)  # a strip folded back onto itself
    index = np.arange(t.size).reshape(t.shape)
    a, b, c, d = (q.ravel() for q in (index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]))
    faces = np.concatenate([np.stack([a, b, c], 1), np.stack([a, c, d], 1)])
    monkeypatch.setattr(spectral_module, "_MAX_NODES", 1500)
    shape = spectrum(make_mesh(np.stack([x, gap, w], -1).reshape(-1, 3), faces), 9)
    assert len(shape.points) <= 1500
    ends = shape.node_of[index[[0, -1], 16]]
    assert shape.distances(ends[:1])[0, ends[1]] > 1.8 / np.sqrt(0.8)


def test_signatures_independent_of_pose():
    """Signatures do not depend on the pose."""
    one, two = (spectrum(figure(arms=(a, a))[0], 40) for a in (0.0, -0.8))
    head = [s.points[:, 1].argmax() for s in (one, two)]
    foot = [s.points[:, 1].argmin() for s in (one, two)]
    a, b = (np.log(wave_kernel(s)) for s in (one, two))
    assert np.abs(a[head[0]] - b[head[1]]).mean() < 0.3 * np.abs(a[head[0]] - b[foot[1]]).mean()
