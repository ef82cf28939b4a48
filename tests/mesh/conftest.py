"""Hand-made meshes."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
import trimesh

from slime3d.io.mesh import Mesh, load_mesh
from slime3d.labelling.votes import FaceVotes
from tests.mesh.shapes import from_trimesh, make_mesh

DATA = Path(os.environ.get("SLIME_DATA", Path(__file__).resolve().parents[3] / "shared" / "data")) / "mesh"


@pytest.fixture
def cube() -> Mesh:
    return from_trimesh(trimesh.creation.box((1.0, 1.4, 0.8)))


@pytest.fixture
def soup() -> Mesh:
    """Triangles of every size and direction, crossing each other."""
    rng = np.random.default_rng(3)
    middle = rng.uniform(-1, 1, (40, 1, 3))
    corners = middle + rng.normal(0, 1, (40, 3, 3)) * 10 ** rng.uniform(-2.5, 0.2, (40, 1, 1))
    return make_mesh(corners.reshape(-1, 3), np.arange(120).reshape(-1, 3))


@pytest.fixture
def dumbbell() -> Mesh:
    """Two bulbs on a bar along x, one closed surface of revolution."""
    x = np.linspace(-1, 1, 41)
    radius = 0.12 + 0.35 * np.exp(-(((np.abs(x) - 0.75) / 0.16) ** 4))
    turn = np.linspace(0, 2 * np.pi, 24, endpoint=False)
    rings = np.stack(
        [np.repeat(x, 24), np.outer(radius, np.cos(turn)).ravel(), np.outer(radius, np.sin(turn)).ravel()], 1
    )
    faces = []
    for i in range(40):
        for j in range(24):
            a, b = i * 24 + j, i * 24 + (j + 1) % 24
            faces += [[a, b, a + 24], [b, b + 24, a + 24]]
    for ring, pole, turned in ((0, 984, False), (40, 985, True)):
        for j in range(24):
            a, b = ring * 24 + j, ring * 24 + (j + 1) % 24
            faces.append([a, b, pole] if turned else [b, a, pole])
    return make_mesh(np.concatenate([rings, [[-1, 0, 0], [1, 0, 0]]]), faces)


@pytest.fixture
def small_sheets(monkeypatch):
    """Runs in tests of other things need no large picture of twelve views."""
    monkeypatch.setattr("slime3d.output.results._SHEET_VIEWS", 1)
    monkeypatch.setattr("slime3d.output.results._SHEET_SIZE", 16)


@pytest.fixture
def mesh_data() -> Path:
    if not DATA.is_dir():
        pytest.skip("no evaluation data; see CONTRIBUTING.md")
    return DATA


@pytest.fixture
def save():
    def write(mesh: Mesh, path: Path) -> Path:
        trimesh.Trimesh(mesh.vertices, mesh.faces, process=False, validate=False).export(path)
        assert len(load_mesh(path).faces) == len(mesh.faces)
        return path

    return write


@pytest.fixture(autouse=True)
def shape_alone(request, monkeypatch):
    """Tests of other things need not learn what views look like; those that do are in test_view_evidence."""
    if request.path.stem != "test_view_evidence":
        monkeypatch.setattr(
            "slime3d.run.pipeline.appearance_votes",
            lambda _mesh, votes, *_: FaceVotes(np.zeros_like(votes), is_fixed=False),
        )
