"""Alpha-expansion: its energy, its moves against all labellings, and its message without PyMaxflow."""

from __future__ import annotations

import itertools
import sys
from importlib.util import find_spec
from types import ModuleType

import numpy as np
import pytest
import trimesh
from hypothesis import given, settings
from hypothesis import strategies as st

import slime3d.labelling.alpha_expansion as smooth
from slime3d.geometry.face_graph import face_adjacency
from slime3d.labelling.alpha_expansion import ExpansionConfig, alpha_expansion
from slime3d.labelling.random_walk import ANNOTATED, WALKED, FaceLabels, WalkConfig
from slimecore.errors import ConfigError
from tests.slime3d.shapes import from_trimesh

INSTALLED = find_spec("maxflow") is not None


def cut_by_scipy(goes, stays, pairs, capacity):
    """The same minimum cut from scipy's maximum flow, in whole numbers; stands in where PyMaxflow is absent."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import breadth_first_order, maximum_flow

    count, scale = len(goes), 1e4
    source, sink = count, count + 1
    one = np.concatenate([np.full(count, source), np.arange(count), pairs[:, 0]])
    two = np.concatenate([np.arange(count), np.full(count, sink), pairs[:, 1]])
    size = np.concatenate([goes.clip(max=1e4), stays.clip(max=1e4), capacity]) * scale
    graph = coo_array((size.round().astype(np.int32), (one, two)), (count + 2, count + 2)).tocsr()
    graph.sum_duplicates()
    rest = graph - maximum_flow(graph, source, sink).flow
    rest.data[rest.data < 0] = 0
    rest.eliminate_zeros()
    reached = breadth_first_order(rest, source, return_predecessors=False)
    return ~np.isin(np.arange(count), reached)


@pytest.fixture
def cut(monkeypatch):
    if not INSTALLED:
        monkeypatch.setattr(smooth, "_minimum_cut", cut_by_scipy)
        monkeypatch.setitem(sys.modules, "maxflow", ModuleType("maxflow"))


def energy(rows, price, pairs, bond):
    total = sum(price[face, row] for face, row in enumerate(rows))
    return total + sum(b for (i, j), b in zip(pairs, bond, strict=True) if rows[i] != rows[j])


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_expansion_move_is_optimal(seed):
    """The best move is found.

    Every move to a label, tried in turn on six faces.
    """
    rng = np.random.default_rng(seed)
    pairs = np.array([p for p in itertools.combinations(range(6), 2) if rng.random() < 0.5]).reshape(-1, 2)
    price, bond = rng.uniform(0, 3, (6, 3)), rng.uniform(0, 2, len(pairs))
    rows, fixed = rng.integers(0, 3, 6), rng.random(6) < 0.2
    cuts = [cut_by_scipy, *([smooth._minimum_cut] if INSTALLED else [])]
    for part, one in itertools.product(range(3), cuts):
        moves = [
            np.where(move, part, rows)
            for move in itertools.product((False, True), repeat=6)
            if not (np.array(move) & fixed & (rows != part)).any()
        ]
        best = min(energy(m, price, pairs, bond) for m in moves)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(smooth, "_minimum_cut", one)
            found = np.where(smooth._expansion_move(part, rows, price, pairs, bond, fixed), part, rows)
        assert energy(found, price, pairs, bond) == pytest.approx(best, abs=1e-2)
        assert (found[fixed] == rows[fixed]).all()


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_energy_never_rises_binary_optimal(seed):
    """The energy never rises, and with two labels the optimum is reached."""
    rng = np.random.default_rng(seed)
    pairs = np.array(list(itertools.combinations(range(7), 2)))
    price, bond = rng.uniform(0, 3, (7, 2)), rng.uniform(0, 1, len(pairs))
    rows = rng.integers(0, 2, 7)
    rows[:2] = 0, 1
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(smooth, "_minimum_cut", cut_by_scipy)
        found = smooth._minimise_energy(rows, price, pairs, bond, np.zeros(7, bool))
    assert energy(found, price, pairs, bond) <= energy(rows, price, pairs, bond) + 1e-9
    best = min(energy(r, price, pairs, bond) for r in itertools.product((0, 1), repeat=7))
    assert energy(found, price, pairs, bond) == pytest.approx(best, abs=1e-2)


def speckled():
    """A ball whose halves are two parts, a few faces of each wrong and unsure, one wrong and annotated."""
    mesh = from_trimesh(trimesh.creation.icosphere(subdivisions=3))
    truth = (mesh.middles()[:, 2] > 0).astype(np.int64)
    rows, sure = truth.copy(), np.full(len(truth), 0.9, np.float32)
    wrong = np.arange(17, len(truth), 61)
    rows[wrong] = 1 - rows[wrong]
    sure[wrong] = 0.55
    source = np.full(len(truth), WALKED, np.uint8)
    source[wrong[0]] = ANNOTATED
    return mesh, truth, FaceLabels(rows, sure, source), wrong


def test_specks_removed_annotated_faces_kept(cut):
    """Specks are removed, and annotated faces stay."""
    mesh, truth, labels, wrong = speckled()
    found = alpha_expansion(mesh, labels, 3, WalkConfig())
    assert np.flatnonzero(found.rows != truth).tolist() == [wrong[0]]
    assert found.confidence[wrong[1]] == pytest.approx((1 - 0.55) / 2, abs=1e-6)
    assert found.confidence[0] == labels.confidence[0]
    np.testing.assert_array_equal(found.source, labels.source)


def test_larger_weight_shortens_borders(cut):
    """Without weight nothing changes, and with more weight borders shorten."""
    mesh, _, labels, _ = speckled()
    pairs = face_adjacency(mesh).pairs

    def border(weight):
        rows = alpha_expansion(mesh, labels, 3, WalkConfig(), ExpansionConfig(weight)).rows
        return int((rows[pairs[:, 0]] != rows[pairs[:, 1]]).sum())

    lengths = [border(w) for w in (0.0, 0.3, 1.0, 3.0)]
    assert lengths == sorted(lengths, reverse=True)
    assert lengths[0] > lengths[-1]
    np.testing.assert_array_equal(alpha_expansion(mesh, labels, 3, WalkConfig(), ExpansionConfig(0)).rows, labels.rows)


def test_missing_pymaxflow_named(cube, monkeypatch):
    """A missing PyMaxflow is named in the error."""
    monkeypatch.setitem(sys.modules, "maxflow", None)
    labels = FaceLabels(np.zeros(12, np.int64), np.ones(12, np.float32), np.zeros(12, np.uint8))
    with pytest.raises(ConfigError, match="needs PyMaxflow, which is not installed; pip install PyMaxflow"):
        alpha_expansion(cube, labels, 2, WalkConfig())
    with pytest.raises(ConfigError, match=r"expansion\.weight"):
        ExpansionConfig(-1)
