"""Registration of two surfaces by a similarity transform, with iterated closest points (Besl and McKay, 1992)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np

from slime3d.geometry.surface_sampling import SurfaceSamples
from slimecore.array_types import Array

__all__ = ["SimilarityTransform", "register_similarity", "rotations"]

_ICP_STEPS = 20  # steps of iterated closest points
_ICP_SAMPLES = 1500  # samples of each surface
_INLIER_SHARE = 0.9  # share of pairs kept, nearest first, as hats and weapons have no counterpart
_MAX_DISTANCE_RATIO = 0.8  # to the distance at the file's orientation, for another orientation to replace it


@dataclass(frozen=True, slots=True, eq=False)
class SimilarityTransform:
    """Similarity transform from a target to its source: ``points @ turn.T * scale + shift``.

    Parameters
    ----------
    turn : (3, 3) float64
        Rotation matrix.
    scale : float
    shift : (3,) float64
        Translation, in units of the source.
    distance : float
        Mean distance of the registered surfaces, in root-mean-square radii of the source.
    """

    turn: Array
    scale: float
    shift: Array
    distance: float

    def __call__(self, points: Array) -> Array:
        """Transform points (n, 3) of the target to the source."""
        return np.asarray(points @ self.turn.T * self.scale + self.shift)


def rotations() -> list[Array]:
    """Return the 24 rotation matrices (3, 3) that map axes to axes, the identity first."""
    out = []
    for order in itertools.permutations(range(3)):
        for signs in itertools.product((1.0, -1.0), repeat=3):
            turn = np.eye(3)[list(order)] * np.array(signs)[:, None]
            if np.linalg.det(turn) > 0:
                out.append(turn)
    return sorted(out, key=lambda turn: -np.trace(turn))


def register_similarity(source: SurfaceSamples, target: SurfaceSamples, *, search: bool) -> SimilarityTransform:
    """Find the similarity transform from `target` to `source`.

    Parameters
    ----------
    source, target : SurfaceSamples
    search : bool
        Test all 24 axis orientations. The file's orientation is kept unless another is clearly closer.

    Returns
    -------
    SimilarityTransform
    """
    source_centre, source_radius = _centroid_and_radius(source)
    target_centre, target_radius = _centroid_and_radius(target)
    source_points, target_points = _subsample(source), _subsample(target)
    candidates = []
    for rotation in rotations() if search else [np.eye(3)]:
        start = SimilarityTransform(
            rotation,
            source_radius / target_radius,
            source_centre - target_centre @ rotation.T * (source_radius / target_radius),
            np.inf,
        )
        candidates.append(_iterated_closest_points(source_points, target_points, start, source_radius))
    best = min(candidates, key=lambda a: a.distance)
    return best if best.distance < _MAX_DISTANCE_RATIO * candidates[0].distance else candidates[0]


def _centroid_and_radius(surface: SurfaceSamples) -> tuple[Array, float]:
    """Return the centroid (3,) of a surface and its root-mean-square distance from it."""
    centroid = np.average(surface.points, axis=0, weights=surface.area)
    squared_distance = ((surface.points - centroid) ** 2).sum(1)
    return centroid, float(np.sqrt(np.average(squared_distance, weights=surface.area)))


def _subsample(surface: SurfaceSamples) -> Array:
    """Return `_ICP_SAMPLES` points (n, 3), evenly spread by area."""
    total = np.cumsum(surface.area)
    return np.asarray(
        surface.points[np.searchsorted(total, (np.arange(_ICP_SAMPLES) + 0.5) / _ICP_SAMPLES * total[-1])]
    )


def _iterated_closest_points(
    source: Array, target: Array, start: SimilarityTransform, radius: float
) -> SimilarityTransform:
    """Refine a transform by iterated closest points in both directions, trimmed (Chetverikov et al., 2002)."""
    from scipy.spatial import cKDTree

    tree = cKDTree(source)
    transform = start
    for _ in range(_ICP_STEPS):
        moved = transform(target)
        forward_distance, forward_nearest = tree.query(moved)
        backward_distance, backward_nearest = cKDTree(moved).query(source)
        a = np.concatenate([target, target[backward_nearest]])
        b = np.concatenate([source[forward_nearest], source])
        distance = np.concatenate([forward_distance, backward_distance])
        inliers = distance <= np.quantile(distance, _INLIER_SHARE)
        transform = _umeyama(a[inliers], b[inliers], float(distance[inliers].mean()) / radius)
    return transform


def _umeyama(a: Array, b: Array, distance: float) -> SimilarityTransform:
    """Return the least-squares similarity transform from points a to b (Umeyama, TPAMI 1991)."""
    ma, mb = a.mean(0), b.mean(0)
    u, s, vt = np.linalg.svd((b - mb).T @ (a - ma) / len(a))
    flip = np.array([1.0, 1.0, np.sign(np.linalg.det(u @ vt))])
    turn = u @ np.diag(flip) @ vt
    scale = float((s * flip).sum() / ((a - ma) ** 2).sum(1).mean())
    return SimilarityTransform(turn, scale, mb - ma @ turn.T * scale, distance)
