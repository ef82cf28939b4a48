"""Laying one surface onto another by a similarity."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from slime3d.geometry.surface_sampling import SurfaceSamples
from slimecore.array_types import Array

__all__ = ["SimilarityTransform", "register_similarity", "rotations"]

_STEPS = 20  # of iterated closest points
_FEW = 1500  # samples that take part while orientations are tried
_KEEP = 0.9  # share of the nearest pairs that are believed: hats and weapons have no counterpart
_BETTER = 0.8  # another orientation than the file's must lower the distance to this share


@dataclass(frozen=True, slots=True, eq=False)
class SimilarityTransform:
    """A similarity that takes a target to its source: ``points @ turn.T * scale + shift``.

    Parameters
    ----------
    turn : (3, 3) float64
        A rotation.
    scale : float
    shift : (3,) float64
    distance : float
        Mean distance of both surfaces afterwards, in root mean squared radii of the source.
    """

    turn: Array
    scale: float
    shift: Array
    distance: float

    def __call__(self, points: Array) -> Array:
        """Points (n, 3) of the target, laid onto the source."""
        return np.asarray(points @ self.turn.T * self.scale + self.shift)


def rotations() -> list[Array]:
    """The 24 rotations that take axes to axes, the identity first."""
    out = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            turn = np.eye(3)[list(order)] * np.array(signs)[:, None]
            if np.linalg.det(turn) > 0:
                out.append(turn)
    return sorted(out, key=lambda turn: -np.trace(turn))


def register_similarity(source: SurfaceSamples, target: SurfaceSamples, *, search: bool) -> SimilarityTransform:
    """Find the similarity that lays `target` onto `source`.

    Parameters
    ----------
    source, target : Surface
    search : bool
        Try all 24 axis orientations; the file's own is kept unless another lies clearly closer.
    """
    goal, goal_radius = _centre(source)
    middle, radius = _centre(target)
    few_source, few_target = _few(source), _few(target)
    tried = []
    for turn in rotations() if search else [np.eye(3)]:
        start = SimilarityTransform(turn, goal_radius / radius, goal - middle @ turn.T * (goal_radius / radius), np.inf)
        tried.append(_closest(few_source, few_target, start, goal_radius))
    best = min(tried, key=lambda a: a.distance)
    return best if best.distance < _BETTER * tried[0].distance else tried[0]


def _centre(surface: SurfaceSamples) -> tuple[Array, float]:
    middle = np.average(surface.points, axis=0, weights=surface.area)
    away = ((surface.points - middle) ** 2).sum(1)
    return middle, float(np.sqrt(np.average(away, weights=surface.area)))


def _few(surface: SurfaceSamples) -> Array:
    """Evenly spread points (about `_FEW`, 3): by area, whatever the sizes of faces."""
    total = np.cumsum(surface.area)
    return np.asarray(surface.points[np.searchsorted(total, (np.arange(_FEW) + 0.5) / _FEW * total[-1])])


def _closest(source: Array, target: Array, start: SimilarityTransform, radius: float) -> SimilarityTransform:
    """Iterated closest points, both ways, trimmed."""
    from scipy.spatial import cKDTree

    tree = cKDTree(source)
    now = start
    for _ in range(_STEPS):
        moved = now(target)
        there, forth = tree.query(moved)
        back_there, back = cKDTree(moved).query(source)
        a = np.concatenate([target, target[back]])
        b = np.concatenate([source[forth], source])
        distance = np.concatenate([there, back_there])
        keep = distance <= np.quantile(distance, _KEEP)
        now = _similarity(a[keep], b[keep], float(distance[keep].mean()) / radius)
    return now


def _similarity(a: Array, b: Array, distance: float) -> SimilarityTransform:
    """Least-squares similarity from points a to b (Umeyama)."""
    ma, mb = a.mean(0), b.mean(0)
    u, s, vt = np.linalg.svd((b - mb).T @ (a - ma) / len(a))
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    turn = u @ np.diag(flip) @ vt
    scale = float((s * flip).sum() / ((a - ma) ** 2).sum(1).mean())
    return SimilarityTransform(turn, scale, mb - ma @ turn.T * scale, distance)
