"""Shorter borders, on request: alpha-expansion over the face graph, with minimum cuts from PyMaxflow."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from slime3d.geometry.face_graph import face_adjacency
from slime3d.io.mesh import Mesh
from slime3d.labelling.random_walk import ANNOTATED, FaceLabels, WalkConfig
from slimecore.array_types import Array
from slimecore.errors import ConfigError

__all__ = ["ExpansionConfig", "alpha_expansion"]

_SWEEPS = 5
_SURE = 1e-3  # probabilities are kept this far from 0 and 1


@dataclass(frozen=True, slots=True)
class ExpansionConfig:
    """How much shorter borders are worth.

    Parameters
    ----------
    weight : float
        Price of a border between two flat neighbours, against the negative logarithm of a face's probability.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise ConfigError(f"expansion.weight must be 0 or more, got {self.weight}")


def alpha_expansion(
    mesh: Mesh, labels: FaceLabels, parts: int, bonds: WalkConfig, config: ExpansionConfig | None = None
) -> FaceLabels:
    """Labels that lower ``sum -log p_i(x_i) + weight sum w_ij [x_i != x_j]``; annotated faces keep theirs.

    Bonds w between neighbours are those of the walk: cheap to cut where the surface bends, above all inwards. Of a
    face's probabilities the largest is known; the others share the rest.

    Parameters
    ----------
    mesh : Mesh
    labels : FaceLabels
    parts : int
        P.
    bonds : WalkConfig
    config : ExpansionConfig, optional

    Raises
    ------
    ConfigError
        PyMaxflow is not installed.
    """
    _require_cut()
    weight = (config or ExpansionConfig()).weight
    sure = labels.confidence.astype(np.float64).clip(_SURE, 1 - _SURE)
    other = (1 - sure) / max(1, parts - 1)
    price = np.repeat(-np.log(other)[:, None], parts, 1)
    price[np.arange(len(sure)), labels.rows] = -np.log(sure)
    edges = face_adjacency(mesh)
    bond = weight * np.exp(-edges.angle / np.where(edges.concave, bonds.concave_scale, bonds.convex_scale))
    rows = _lowered(labels.rows, price, edges.pairs, bond, labels.source == ANNOTATED)
    changed = rows != labels.rows
    return replace(labels, rows=rows, confidence=np.where(changed, other, labels.confidence).astype(np.float32))


def _lowered(rows: Array, price: Array, pairs: Array, bond: Array, fixed: Array) -> Array:
    best = _energy(rows, price, pairs, bond)
    for _ in range(_SWEEPS):
        before = best
        for part in np.unique(rows):
            tried = np.where(_takes(int(part), rows, price, pairs, bond, fixed), part, rows)
            energy = _energy(tried, price, pairs, bond)
            if energy < best - 1e-9:
                rows, best = tried, energy
        if best == before:
            break
    return rows


def _energy(rows: Array, price: Array, pairs: Array, bond: Array) -> float:
    cut = rows[pairs[:, 0]] != rows[pairs[:, 1]]
    return float(price[np.arange(len(rows)), rows].sum() + bond[cut].sum())


def _takes(part: int, rows: Array, price: Array, pairs: Array, bond: Array, fixed: Array) -> Array:
    """(F,) bool: faces that go over to `part` in the best move in which any may."""
    one, two = rows[pairs[:, 0]], rows[pairs[:, 1]]
    both_stay, first_stays, second_stays = bond * (one != two), bond * (one != part), bond * (two != part)
    # The pair's price as one term of each face and one of "the first stays, the second goes" (Kolmogorov and Zabih).
    gain = price[:, part] - price[np.arange(len(rows)), rows]
    gain = gain + np.bincount(pairs[:, 0], second_stays - both_stay, minlength=len(rows))
    gain = gain - np.bincount(pairs[:, 1], second_stays, minlength=len(rows))
    gain[fixed & (rows != part)] = 1e9
    return _cut(gain.clip(0), (-gain).clip(0), pairs, first_stays + second_stays - both_stay)


def _cut(goes: Array, stays: Array, pairs: Array, capacity: Array) -> Array:
    """(F,) bool: who goes in the cheapest choice.

    Prices are `goes` and `stays` (F,), and `capacity` (E,) of every pair whose first stays while its second goes.
    """
    import maxflow

    graph = maxflow.GraphFloat(len(goes), len(pairs))
    nodes = graph.add_nodes(len(goes))
    graph.add_grid_tedges(nodes, goes, stays)
    graph.add_edges(pairs[:, 0], pairs[:, 1], capacity, np.zeros(len(pairs)))
    graph.maxflow()
    return np.asarray(graph.get_grid_segments(nodes), bool)


def _require_cut() -> None:
    try:
        import maxflow  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "smooth=expansion needs PyMaxflow, which is not installed; pip install PyMaxflow, or leave --smooth out"
        ) from error
