"""Optional smoothing by alpha-expansion (Boykov et al., TPAMI 2001) on the face graph, with cuts by PyMaxflow."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from slime3d.geometry.face_graph import face_adjacency
from slime3d.io.mesh import Mesh
from slime3d.labelling.random_walk import ANNOTATED, CONVEX_SCALE_RADIANS, FaceLabels, WalkConfig
from slimecore.array_types import Array
from slimecore.errors import ConfigError

__all__ = ["ExpansionConfig", "alpha_expansion"]

_MAX_SWEEPS = 5
_MIN_PROBABILITY = 1e-3  # probabilities are clipped to this distance from 0 and 1, so that logarithms are finite


@dataclass(frozen=True, slots=True)
class ExpansionConfig:
    """Setting of alpha-expansion.

    Parameters
    ----------
    weight : float
        Cost of a border between two coplanar neighbours, in units of the negative log-probability of a face, 0 or
        more.
    """

    weight: float = 1.0

    def __post_init__(self) -> None:
        if not self.weight >= 0:
            raise ConfigError(f"expansion.weight must be 0 or more, got {self.weight}")


def alpha_expansion(
    mesh: Mesh, labels: FaceLabels, parts: int, walk: WalkConfig, config: ExpansionConfig | None = None
) -> FaceLabels:
    """Shorten part borders by minimising ``sum -log p_i(x_i) + weight sum w_ij [x_i != x_j]``.

    Annotated faces keep their labels. The edge weights w are those of the random walk within a shell, so borders are
    cheap along concave edges. The labelled part has the face's confidence as probability, and all other parts share
    the rest equally.

    Parameters
    ----------
    mesh : Mesh
    labels : FaceLabels
        Result of the random walk.
    parts : int
        P.
    walk : WalkConfig
        Scale of the edge weights.
    config : ExpansionConfig, optional

    Returns
    -------
    FaceLabels
        Relabelled faces have the probability of their new part as confidence.

    Raises
    ------
    ConfigError
        PyMaxflow is not installed.
    """
    _require_pymaxflow()
    weight = (config or ExpansionConfig()).weight
    confidence = labels.confidence.astype(np.float64).clip(_MIN_PROBABILITY, 1 - _MIN_PROBABILITY)
    other_probability = (1 - confidence) / max(1, parts - 1)
    unary = np.repeat(-np.log(other_probability)[:, None], parts, 1)
    unary[np.arange(len(confidence)), labels.rows] = -np.log(confidence)
    edges = face_adjacency(mesh)
    edge_weight = weight * np.exp(-edges.angle / np.where(edges.concave, walk.concave_scale, CONVEX_SCALE_RADIANS))
    rows = _minimise_energy(labels.rows, unary, edges.pairs, edge_weight, labels.source == ANNOTATED)
    changed = rows != labels.rows
    return replace(
        labels, rows=rows, confidence=np.where(changed, other_probability, labels.confidence).astype(np.float32)
    )


def _minimise_energy(rows: Array, unary: Array, pairs: Array, edge_weight: Array, fixed: Array) -> Array:
    """Return part rows (F,) after expansion moves of all parts, repeated while the energy falls."""
    best = _energy(rows, unary, pairs, edge_weight)
    for _ in range(_MAX_SWEEPS):
        previous = best
        for part in np.unique(rows):
            candidate = np.where(_expansion_move(int(part), rows, unary, pairs, edge_weight, fixed), part, rows)
            energy = _energy(candidate, unary, pairs, edge_weight)
            if energy < best - 1e-9:
                rows, best = candidate, energy
        if best == previous:
            break
    return rows


def _energy(rows: Array, unary: Array, pairs: Array, edge_weight: Array) -> float:
    """Return the sum of unary costs and of the weights of edges between two parts."""
    crosses_border = rows[pairs[:, 0]] != rows[pairs[:, 1]]
    return float(unary[np.arange(len(rows)), rows].sum() + edge_weight[crosses_border].sum())


def _expansion_move(part: int, rows: Array, unary: Array, pairs: Array, edge_weight: Array, fixed: Array) -> Array:
    """Return a mask (F,) of the faces that switch to `part` in the best expansion move."""
    first_rows, second_rows = rows[pairs[:, 0]], rows[pairs[:, 1]]
    both_stay, first_stays, second_stays = (
        edge_weight * (first_rows != second_rows),
        edge_weight * (first_rows != part),
        edge_weight * (second_rows != part),
    )
    # The pairwise cost splits into a term of each face and a term of "the first stays, the second moves" (Kolmogorov
    # and Zabih, TPAMI 2004).
    cost_of_move = unary[:, part] - unary[np.arange(len(rows)), rows]
    cost_of_move = cost_of_move + np.bincount(pairs[:, 0], second_stays - both_stay, minlength=len(rows))
    cost_of_move = cost_of_move - np.bincount(pairs[:, 1], second_stays, minlength=len(rows))
    cost_of_move[fixed & (rows != part)] = 1e9
    return _minimum_cut(cost_of_move.clip(0), (-cost_of_move).clip(0), pairs, first_stays + second_stays - both_stay)


def _minimum_cut(move_cost: Array, stay_cost: Array, pairs: Array, capacity: Array) -> Array:
    """Return a mask (F,) of the faces that move in the cheapest binary labelling, by a minimum cut.

    Parameters
    ----------
    move_cost, stay_cost : (F,) float64
        Costs of both choices of every face, 0 or more.
    pairs : (E, 2) int64
    capacity : (E,) float64
        Cost of every pair whose first face stays while its second moves.
    """
    import maxflow

    graph = maxflow.GraphFloat(len(move_cost), len(pairs))
    nodes = graph.add_nodes(len(move_cost))
    graph.add_grid_tedges(nodes, move_cost, stay_cost)
    graph.add_edges(pairs[:, 0], pairs[:, 1], capacity, np.zeros(len(pairs)))
    graph.maxflow()
    return np.asarray(graph.get_grid_segments(nodes), bool)


def _require_pymaxflow() -> None:
    try:
        import maxflow  # noqa: F401
    except ImportError as error:
        raise ConfigError(
            "smooth=expansion needs PyMaxflow, which is not installed; pip install PyMaxflow, or leave --smooth out"
        ) from error
