"""Symmetry as evidence: an unseen side looks like the seen one, if the shape says that both are the same.

Mirrors and turns about the middle are tried along the file's axes and the shape's own. One is believed if it lays
nearly all of the surface onto itself. A bent body, which nothing lays onto itself in space, is mirrored along its
surface (slime3d.geometry.functional_map). Then a face asks the annotated surface at the place it is laid on.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from slime3d.geometry.functional_map import intrinsic_mirror_images
from slime3d.geometry.surface_sampling import SurfaceSamples, sample_surface
from slime3d.io.mesh import Mesh
from slime3d.labelling.votes import FaceVotes
from slimecore.array_types import Array
from slimecore.errors import ConfigError

__all__ = ["SymmetryConfig", "symmetries", "symmetry_evidence"]

_SAMPLES = 20_000  # points of the surface, at least one a face
_REACH = 1.5  # typical distances of samples within which two places are one
_PREDICTS = 0.9  # share of what is seen twice that the parts' images must explain
_ENOUGH = 50  # samples of a part seen twice that say where it goes
_ALIKE = 0.8  # cosine between normals of one place
_SAME_TURN = 0.05  # difference of matrices below which two turns are one


@dataclass(frozen=True, slots=True)
class SymmetryConfig:
    """How far symmetry is believed.

    Parameters
    ----------
    weight : float
        Weight of its votes against the bonds to the neighbours, which are at most 1; 0 switches it off.
    min_matched_share : float
        Share of the surface that must fall onto itself, 0..1.
    intrinsic_tolerance : float
        Distortion up to which left and right of a bent body are believed, as a share of the mean distance along its
        surface; 0 switches that off.
    """

    weight: float = 0.01
    min_matched_share: float = 0.9
    intrinsic_tolerance: float = 0.1

    RENAMED = MappingProxyType({"bent": "intrinsic_tolerance", "share": "min_matched_share"})

    def __post_init__(self) -> None:
        if not 0 <= self.intrinsic_tolerance <= 1:
            raise ConfigError(f"symmetry.intrinsic_tolerance must be 0 .. 1, got {self.intrinsic_tolerance}")
        if self.weight < 0 or not 0 < self.min_matched_share <= 1:
            raise ConfigError(
                "symmetry needs a weight of 0 or more and a min_matched_share in 0..1, got "
                f"{self.weight}, {self.min_matched_share}"
            )


def symmetry_evidence(mesh: Mesh, votes: Array, config: SymmetryConfig) -> FaceVotes:
    """Votes (F, P) for faces that certain `votes` (F, P) leave open, by the symmetries of the mesh.

    Where annotated places are laid on annotated places, what is seen there says which part is whose image: a left leg
    may be a part of its own. Parts about which nothing is seen are taken as their own images, unless parts were seen
    to change. A symmetry that the labels do not have is not asked.
    """
    out = np.zeros_like(votes)
    known = votes.sum(1) > 0
    if config.weight == 0 or not known.any():
        return FaceVotes(out, is_fixed=False)
    surface = sample_surface(mesh, _SAMPLES)
    annotated = known[surface.face]
    share = votes[surface.face] / votes[surface.face].sum(1, keepdims=True).clip(1e-12)
    some = _SampleIndex(surface, np.flatnonzero(annotated))
    every = np.arange(len(annotated))
    images = [
        some.mapped(every, turn, middle, sides=True) for turn, middle in _found(surface, config.min_matched_share)
    ]
    if config.intrinsic_tolerance and not annotated.all():
        images += [
            some.nearest(points) for points in intrinsic_mirror_images(mesh, surface, config.intrinsic_tolerance)
        ]
    for image, fits in images:
        image_of = _images(share, surface, annotated, image, fits)
        if image_of is None:
            continue
        says = fits & ~annotated
        gain = (share[image[says]] @ image_of) * surface.area[says, None]
        for part in range(votes.shape[1]):
            out[:, part] += np.bincount(surface.face[says], gain[:, part], minlength=len(votes))
    out /= np.bincount(surface.face, surface.area, minlength=len(votes))[:, None].clip(1e-30)
    return FaceVotes(config.weight * out / out.sum(1, keepdims=True).clip(1), is_fixed=False)


def symmetries(mesh: Mesh, share: float) -> list[tuple[Array, Array]]:
    """Orthogonal matrices (3, 3) and the fixed middle (3,) of the isometries that lay `share` of a mesh onto itself."""
    return _found(sample_surface(mesh, _SAMPLES), share)


def _found(surface: SurfaceSamples, share: float) -> list[tuple[Array, Array]]:
    middle = np.average(surface.points, axis=0, weights=surface.area)
    away = surface.points - middle
    own = np.linalg.eigh((away * surface.area[:, None]).T @ away)[1].T
    everything = _SampleIndex(surface, np.arange(len(surface.points)))
    asking = np.arange(0, len(surface.points), max(1, len(surface.points) // _SAMPLES))
    area = surface.area[asking]
    tried = [np.eye(3)]
    out: list[tuple[Array, Array]] = []
    for frame, signs in itertools.product((np.eye(3), own), itertools.product((1.0, -1.0), repeat=3)):
        turn = frame.T @ np.diag(signs) @ frame
        if any(np.abs(turn - other).max() < _SAME_TURN for other in tried):
            continue
        tried.append(turn)
        fits = everything.mapped(asking, turn, middle, sides=False)[1]
        if area[fits].sum() >= share * area.sum():
            out.append((turn, middle))
    return out


class _SampleIndex:
    """Some samples of a surface, to be found by their place."""

    def __init__(self, surface: SurfaceSamples, which: Array) -> None:
        from scipy.spatial import cKDTree

        self._surface, self._which = surface, which
        self._tree = cKDTree(surface.points[which])

    def nearest(self, moved: Array) -> tuple[Array, Array]:
        """Index of the sample each moved point falls on, and whether one is there; NaN falls nowhere."""
        known = np.isfinite(moved).all(1)
        distance = np.full(len(moved), np.inf)
        nearest = np.zeros(len(moved), np.int64)
        reach = _REACH * self._surface.spacing
        distance[known], nearest[known] = self._tree.query(moved[known], distance_upper_bound=reach)
        hit = np.isfinite(distance)
        return self._which[np.where(hit, nearest, 0)], hit

    def mapped(self, asking: Array, turn: Array, middle: Array, *, sides: bool) -> tuple[Array, Array]:
        """Index of the sample each asking sample is laid on, and whether it fits in place and direction.

        With `sides`, outside has to fall on outside; windings are too often at odds to ask that of a whole mesh.
        """
        surface = self._surface
        moved = (surface.points[asking] - middle) @ turn.T + middle
        image, hit = self.nearest(moved)
        cosine = ((surface.normals[asking] @ turn.T) * surface.normals[image]).sum(1)
        return image, hit & ((cosine if sides else np.abs(cosine)) >= _ALIKE)


def _images(share: Array, surface: SurfaceSamples, annotated: Array, image: Array, fits: Array) -> Array | None:
    """(P, P) chance that a place laid on part p is of part q; None where that is anyone's guess."""
    both = fits & annotated
    seen = (share[image][both] * surface.area[both, None]).T @ share[both]
    total = seen.sum(1, keepdims=True)
    if seen.max(1).sum() < _PREDICTS * seen.sum():
        return None
    enough = total[:, 0] > _ENOUGH * surface.spacing**2
    same = np.trace(seen) >= 0.8 * seen.sum()
    default = np.eye(len(seen)) if same else np.zeros_like(seen)
    return np.where(enough[:, None], seen / total.clip(1e-30), default)
