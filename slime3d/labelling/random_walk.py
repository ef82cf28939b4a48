"""From evidence to labels: a random walk over the face graph, and nearest faces for what it cannot reach."""

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

__all__ = ["ANNOTATED", "FILLED", "PERSUADED", "SOURCES", "WALKED", "FaceLabels", "WalkConfig", "random_walk_labels"]

SOURCES = ("annotated", "walked", "filled", "appearance")
ANNOTATED, WALKED, FILLED, PERSUADED = range(4)


@dataclass(frozen=True, slots=True)
class WalkConfig:
    """How easily the walk crosses edges.

    Parameters
    ----------
    concave_scale, convex_scale : float
        Radians of bending after which the bond between neighbours has fallen to 1/e.
    bridge : float
        Bond between faces of different shells that touch; it falls with their distance.
    """

    concave_scale: float = 0.25
    convex_scale: float = 1.0
    bridge: float = 1e-3

    RENAMED = MappingProxyType({"concave": "concave_scale", "convex": "convex_scale"})

    def __post_init__(self) -> None:
        for name in ("concave_scale", "convex_scale", "bridge"):
            if not getattr(self, name) > 0:
                raise ConfigError(f"walk.{name} must be above 0, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, eq=False)
class FaceLabels:
    """A part for every face.

    Parameters
    ----------
    rows : (F,) int64
        Part row; a face's order is the file's.
    confidence : (F,) float32
        Probability of that part, 0..1.
    source : (F,) uint8
        Index into :data:`SOURCES`.
    """

    rows: Array
    confidence: Array
    source: Array


def random_walk_labels(mesh: Mesh, evidence: Sequence[FaceVotes], config: WalkConfig | None = None) -> FaceLabels:
    """Label every face.

    The probabilities x minimise ``sum w_ij |x_i - x_j|^2 + sum c_i |x_i - v_i|^2`` over bonds w and votes v of
    weight c, with x fixed on faces whose evidence is certain. They are the chances that a walker who starts at a face
    meets each part first.

    Parameters
    ----------
    mesh : Mesh
    evidence : sequence of Evidence
        Same number of parts in each.
    config : WalkConfig, optional

    Raises
    ------
    InputError
        Nobody votes on any face.
    """
    total, certain, weight = _added(evidence)
    if not (weight > 0).any():
        raise InputError("no face has any evidence: the annotation shows no face of this mesh")
    bonds = _edge_weights(mesh, config or WalkConfig())
    group = connected_components(len(mesh.faces), np.stack(bonds.nonzero(), 1))
    reached = np.bincount(group, weight)[group] > 0
    chance = np.zeros_like(total)
    chance[certain] = total[certain] / weight[certain, None]
    free = np.flatnonzero(reached & ~certain)
    chance[free] = _solved(bonds, total, weight, certain, chance, free)
    source = np.where(certain, ANNOTATED, WALKED).astype(np.uint8)
    lost = np.flatnonzero(~reached)
    if len(lost):
        chance[lost] = chance[_nearest(mesh, np.flatnonzero(reached), lost)]
        source[lost] = FILLED
    rows = chance.argmax(1)
    top = chance[np.arange(len(rows)), rows] / chance.sum(1).clip(1e-12)
    return FaceLabels(rows, top.clip(0, 1).astype(np.float32), source)


def _added(evidence: Sequence[FaceVotes]) -> tuple[Array, Array, Array]:
    """Votes of the deciding source of every face, which faces are certain, and the votes' sums."""
    sure = [e.votes for e in evidence if e.is_fixed]
    guess = [e.votes for e in evidence if not e.is_fixed]
    zero = np.zeros_like(evidence[0].votes)
    fixed: Array = sum(sure, zero)
    certain = fixed.sum(1) > 0
    total = np.where(certain[:, None], fixed, sum(guess, zero))
    return total, certain, total.sum(1)


def _edge_weights(mesh: Mesh, config: WalkConfig) -> Any:
    """Symmetric sparse (F, F) weights."""
    from scipy.sparse import coo_array

    edges = face_adjacency(mesh)
    bond = np.exp(-edges.angle / np.where(edges.concave, config.concave_scale, config.convex_scale))
    far, distance = shell_bridges(mesh, connected_components(len(mesh.faces), edges.pairs))
    reach = np.sqrt(mesh.areas().mean()) + 1e-12
    weak = config.bridge / (1 + (distance / reach) ** 2)
    pairs, value = np.concatenate([edges.pairs, far]), np.concatenate([bond, weak])
    count = len(mesh.faces)
    half = coo_array((value, (pairs[:, 0], pairs[:, 1])), (count, count)).tocsr()
    return half + half.T


def _solved(bonds: Any, total: Array, weight: Array, certain: Array, chance: Array, free: Array) -> Array:
    """Probabilities (free, P) of the free faces."""
    from scipy.sparse import diags_array
    from scipy.sparse.linalg import splu

    if not len(free):
        return np.zeros((0, int(total.shape[1])))
    rows = bonds[free]
    degree = np.asarray(rows.sum(1)).ravel() + weight[free]
    system = (diags_array(degree) - rows[:, free]).tocsc()
    right = rows[:, np.flatnonzero(certain)] @ chance[certain] + total[free]
    try:  # surfaces have small separators: factors of half a million faces take seconds, and serve all parts
        factors = splu(system, permc_spec="MMD_AT_PLUS_A", diag_pivot_thresh=0.0, options={"SymmetricMode": True})
        return np.asarray(factors.solve(right))
    except MemoryError as error:
        raise InputError(f"{len(free)} faces are too many for the memory of this machine; decimate the mesh") from error


def _nearest(mesh: Mesh, known: Array, asking: Array) -> Array:
    from scipy.spatial import cKDTree

    middles = mesh.middles()
    return np.asarray(known[cKDTree(middles[known]).query(middles[asking])[1]])
