"""Random walker segmentation of a mesh (Grady, TPAMI 2006), on its face graph.

Faces that no weighted path joins to a vote take the label of the nearest labelled face.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import numpy as np

from slime3d.geometry.face_graph import connected_components, face_adjacency, shell_bridges
from slime3d.io.mesh import Mesh
from slime3d.labelling.votes import FaceVotes
from slimecore.array_types import Array
from slimecore.errors import ConfigError, InputError

__all__ = [
    "ANNOTATED",
    "CONVEX_SCALE_RADIANS",
    "FILLED",
    "RELABELLED_BY_APPEARANCE",
    "SOURCES",
    "WALKED",
    "FaceLabels",
    "WalkConfig",
    "random_walk_labels",
]

CONVEX_SCALE_RADIANS = 1.0  # dihedral angle of a convex edge at which its weight has fallen to 1/e
_BRIDGE_WEIGHT = 1e-3  # weight between touching faces of two shells, beside at most 1 for faces of one shell

SOURCES = ("annotated", "walked", "filled", "appearance")
ANNOTATED, WALKED, FILLED, RELABELLED_BY_APPEARANCE = range(4)


@dataclass(frozen=True, slots=True)
class WalkConfig:
    """Settings of the edge weights of the random walk.

    Parameters
    ----------
    concave_scale : float
        Dihedral angle of a concave edge at which its weight has fallen to 1/e, radians, above 0.
    """

    concave_scale: float = 0.25

    RENAMED = MappingProxyType({"concave": "concave_scale", "convex": "", "convex_scale": "", "bridge": ""})

    def __post_init__(self) -> None:
        if not self.concave_scale > 0:
            raise ConfigError(f"walk.concave_scale must be above 0, got {self.concave_scale}")


@dataclass(frozen=True, slots=True, eq=False)
class FaceLabels:
    """Part labels of all faces of a mesh, in the order of its file.

    Parameters
    ----------
    rows : (F,) int64
        Part row of every face.
    confidence : (F,) float32
        Probability of the labelled part, 0..1.
    source : (F,) uint8
        Index into :data:`SOURCES`.
    """

    rows: Array
    confidence: Array
    source: Array


def random_walk_labels(mesh: Mesh, evidence: Sequence[FaceVotes], config: WalkConfig | None = None) -> FaceLabels:
    """Label every face by the random walker algorithm (Grady, TPAMI 2006).

    The probabilities x minimise ``sum w_ij |x_i - x_j|^2 + sum c_i |x_i - v_i|^2`` with edge weights w and votes v of
    weight c. On faces with fixed votes, x equals these votes. The minimum is the probability that a random walker who
    starts at a face meets each part first. See docs/adr/0012.

    Parameters
    ----------
    mesh : Mesh
        F faces.
    evidence : sequence of FaceVotes
        Votes (F, P) of every source, all with the same P.
    config : WalkConfig, optional

    Returns
    -------
    FaceLabels

    Raises
    ------
    InputError
        No source votes on any face.
    """
    total, fixed, vote_sum = _combine_votes(evidence)
    if not (vote_sum > 0).any():
        raise InputError("no face has any evidence: the annotation shows no face of this mesh")
    edge_weights = _edge_weights(mesh, config or WalkConfig())
    component = connected_components(len(mesh.faces), np.stack(edge_weights.nonzero(), 1))
    reached = np.bincount(component, vote_sum)[component] > 0
    probability = np.zeros_like(total)
    probability[fixed] = total[fixed] / vote_sum[fixed, None]
    free = np.flatnonzero(reached & ~fixed)
    probability[free] = _solve_free_faces(edge_weights, total, vote_sum, fixed, probability, free)
    source = np.where(fixed, ANNOTATED, WALKED).astype(np.uint8)
    unreached = np.flatnonzero(~reached)
    if len(unreached):
        probability[unreached] = probability[_nearest_labelled_faces(mesh, np.flatnonzero(reached), unreached)]
        source[unreached] = FILLED
    rows = probability.argmax(1)
    confidence = probability[np.arange(len(rows)), rows] / probability.sum(1).clip(1e-12)
    return FaceLabels(rows, confidence.clip(0, 1).astype(np.float32), source)


def _combine_votes(evidence: Sequence[FaceVotes]) -> tuple[Array, Array, Array]:
    """Return votes (F, P), a mask (F,) of fixed faces, and the votes' sums (F,).

    Fixed votes replace soft ones on the faces that have both.
    """
    fixed_votes = [e.votes for e in evidence if e.is_fixed]
    soft_votes = [e.votes for e in evidence if not e.is_fixed]
    zero = np.zeros_like(evidence[0].votes)
    fixed_sum: Array = sum(fixed_votes, zero)
    fixed = fixed_sum.sum(1) > 0
    total = np.where(fixed[:, None], fixed_sum, sum(soft_votes, zero))
    return total, fixed, total.sum(1)


def _edge_weights(mesh: Mesh, config: WalkConfig) -> Any:
    """Return the symmetric sparse (F, F) edge weights of the face graph, 0 or more."""
    from scipy.sparse import coo_array

    edges = face_adjacency(mesh)
    edge_weight = np.exp(-edges.angle / np.where(edges.concave, config.concave_scale, CONVEX_SCALE_RADIANS))
    bridge_pairs, distance = shell_bridges(mesh, connected_components(len(mesh.faces), edges.pairs))
    typical_edge = np.sqrt(mesh.areas().mean()) + 1e-12
    bridge_weight = _BRIDGE_WEIGHT / (1 + (distance / typical_edge) ** 2)
    pairs, value = np.concatenate([edges.pairs, bridge_pairs]), np.concatenate([edge_weight, bridge_weight])
    count = len(mesh.faces)
    directed = coo_array((value, (pairs[:, 0], pairs[:, 1])), (count, count)).tocsr()
    return directed + directed.T


def _solve_free_faces(
    edge_weights: Any, total: Array, vote_sum: Array, fixed: Array, probability: Array, free: Array
) -> Array:
    """Return part probabilities (free, P) of the faces without fixed votes, from one sparse linear system."""
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import splu

    if not len(free):
        return np.zeros((0, int(total.shape[1])))
    rows = edge_weights[free]
    degree = np.asarray(rows.sum(1)).ravel() + vote_sum[free]
    system = (diags_array(degree) - rows[:, free]).tocsc()
    constants = rows[:, np.flatnonzero(fixed)] @ probability[fixed] + total[free]
    try:  # surfaces have small separators: factors of half a million faces take seconds and serve all parts
        factors = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        return np.asarray(factors.solve(constants))
    except MemoryError as error:
        raise InputError(f"{len(free)} faces are too many for the memory of this machine; decimate the mesh") from error


def _nearest_labelled_faces(mesh: Mesh, labelled: Array, queries: Array) -> Array:
    """Return the labelled face with the nearest centroid for every queried face."""
    from scipy.spatial import cKDTree

    centroids = mesh.middles()
    return np.asarray(labelled[cKDTree(centroids[labelled]).query(centroids[queries])[1]])
