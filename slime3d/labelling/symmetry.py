"""Symmetry of the shape as evidence for the faces no annotated view shows (docs/adr/0013).

Reflections and half turns about the centroid are tested along the file's axes and the principal axes. A symmetry is
accepted if it maps nearly all of the surface onto itself. A bent body has no such symmetry in space and is mirrored
along its surface (:mod:`slime3d.geometry.functional_map`, docs/adr/0017). An unlabelled face then takes the votes of
the annotated surface at its image.
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

_MIN_SAMPLES = 20_000  # samples of the surface, at least one for every face
_MIN_MATCHED_SHARE = 0.9  # share of the area that a symmetry must map onto the surface
_MATCH_DISTANCE_SPACINGS = 1.5  # distance up to which a mapped sample matches another, in sample spacings
_MIN_NORMAL_COSINE = 0.8  # cosine between the normals of matching samples
_MIN_EXPLAINED_SHARE = 0.9  # share of the doubly annotated area that the part correspondence must explain
_MIN_IDENTITY_SHARE = 0.8  # share of that area on equal parts, above which parts without data are their own images
_MIN_PART_SAMPLES = 50  # doubly annotated area that determines the image of a part, in squared sample spacings
_SAME_MATRIX_TOLERANCE = 0.05  # largest difference of entries of two equal symmetries


@dataclass(frozen=True, slots=True)
class SymmetryConfig:
    """Settings of the symmetry votes.

    Parameters
    ----------
    weight : float
        Weight of the votes of a face, beside edge weights of at most 1. 0 switches them off.
    intrinsic_tolerance : float
        Largest distortion of an accepted intrinsic mirror map, as a share of the mean distance along the surface,
        0..1. 0 switches intrinsic symmetry off.
    """

    weight: float = 0.01
    intrinsic_tolerance: float = 0.1

    RENAMED = MappingProxyType({"bent": "intrinsic_tolerance", "share": "", "min_matched_share": ""})

    def __post_init__(self) -> None:
        if not 0 <= self.intrinsic_tolerance <= 1:
            raise ConfigError(f"symmetry.intrinsic_tolerance must be 0 .. 1, got {self.intrinsic_tolerance}")
        if self.weight < 0:
            raise ConfigError(f"symmetry.weight must be 0 or more, got {self.weight}")


def symmetry_evidence(mesh: Mesh, votes: Array, config: SymmetryConfig) -> FaceVotes:
    """Compute votes for unlabelled faces from the annotated faces at their symmetric images.

    Annotated samples that map to annotated samples determine the image of every part, so a left leg may map to a
    right leg. A part without such samples maps to itself, unless other parts are seen to change. Symmetries that
    contradict the labels are ignored.

    Parameters
    ----------
    mesh : Mesh
    votes : (F, P) float64
        Votes of the annotation. Rows of zeros are unlabelled faces.
    config : SymmetryConfig

    Returns
    -------
    FaceVotes
        Soft votes of weight at most `config.weight` a face, none on annotated faces.
    """
    out = np.zeros_like(votes)
    labelled = votes.sum(1) > 0
    if config.weight == 0 or not labelled.any():
        return FaceVotes(out, is_fixed=False)
    surface = sample_surface(mesh, _MIN_SAMPLES)
    annotated = labelled[surface.face]
    sample_votes = votes[surface.face] / votes[surface.face].sum(1, keepdims=True).clip(1e-12)
    annotated_samples = _SampleIndex(surface, np.flatnonzero(annotated))
    all_samples = np.arange(len(annotated))
    images = [
        annotated_samples.mapped(all_samples, matrix, centre, outward=True)
        for matrix, centre in _find_symmetries(surface, _MIN_MATCHED_SHARE)
    ]
    if config.intrinsic_tolerance and not annotated.all():
        images += [
            annotated_samples.nearest(points)
            for points in intrinsic_mirror_images(mesh, surface, config.intrinsic_tolerance)
        ]
    for image, matched in images:
        correspondence = _part_correspondence(sample_votes, surface, annotated, image, matched)
        if correspondence is None:
            continue
        receives = matched & ~annotated
        mapped_votes = (sample_votes[image[receives]] @ correspondence) * surface.area[receives, None]
        for part in range(votes.shape[1]):
            out[:, part] += np.bincount(surface.face[receives], mapped_votes[:, part], minlength=len(votes))
    out /= np.bincount(surface.face, surface.area, minlength=len(votes))[:, None].clip(1e-30)
    return FaceVotes(config.weight * out / out.sum(1, keepdims=True).clip(1), is_fixed=False)


def symmetries(mesh: Mesh, min_share: float) -> list[tuple[Array, Array]]:
    """Return the isometries that map at least `min_share` of the area of a mesh onto itself.

    Each is an orthogonal matrix (3, 3) about a fixed centre (3,). The identity is left out.
    """
    return _find_symmetries(sample_surface(mesh, _MIN_SAMPLES), min_share)


def _find_symmetries(surface: SurfaceSamples, min_share: float) -> list[tuple[Array, Array]]:
    """Test sign changes of the coordinates along the file's axes and along the principal axes."""
    centre = np.average(surface.points, axis=0, weights=surface.area)
    offset = surface.points - centre
    principal_axes = np.linalg.eigh((offset * surface.area[:, None]).T @ offset)[1].T
    all_samples = _SampleIndex(surface, np.arange(len(surface.points)))
    queries = np.arange(0, len(surface.points), max(1, len(surface.points) // _MIN_SAMPLES))
    area = surface.area[queries]
    tested = [np.eye(3)]
    out: list[tuple[Array, Array]] = []
    for frame, signs in itertools.product((np.eye(3), principal_axes), itertools.product((1.0, -1.0), repeat=3)):
        matrix = frame.T @ np.diag(signs) @ frame
        if any(np.abs(matrix - other).max() < _SAME_MATRIX_TOLERANCE for other in tested):
            continue
        tested.append(matrix)
        matched = all_samples.mapped(queries, matrix, centre, outward=False)[1]
        if area[matched].sum() >= min_share * area.sum():
            out.append((matrix, centre))
    return out


class _SampleIndex:
    """Search tree over a subset of the samples of a surface."""

    def __init__(self, surface: SurfaceSamples, indices: Array) -> None:
        from scipy.spatial import cKDTree

        self._surface, self._indices = surface, indices
        self._tree = cKDTree(surface.points[indices])

    def nearest(self, moved: Array) -> tuple[Array, Array]:
        """Return the index (n,) of the nearest sample of every point (n, 3), and a mask (n,) of points with a match.

        Points that are NaN have no match.
        """
        finite = np.isfinite(moved).all(1)
        distance = np.full(len(moved), np.inf)
        nearest = np.zeros(len(moved), np.int64)
        max_distance = _MATCH_DISTANCE_SPACINGS * self._surface.spacing
        distance[finite], nearest[finite] = self._tree.query(moved[finite], distance_upper_bound=max_distance)
        matched = np.isfinite(distance)
        return self._indices[np.where(matched, nearest, 0)], matched

    def mapped(self, queries: Array, matrix: Array, centre: Array, *, outward: bool) -> tuple[Array, Array]:
        """Find the sample at the image of every query.

        Parameters
        ----------
        queries : (n,) int64
            Indices of samples.
        matrix : (3, 3) float64
            Orthogonal.
        centre : (3,) float64
            Fixed point.
        outward : bool
            Normals must agree in sign. Windings of whole meshes are too inconsistent to require that of a symmetry.

        Returns
        -------
        image : (n,) int64
            Index of the sample.
        matched : (n,) bool
            Position and normal agree.
        """
        surface = self._surface
        moved = (surface.points[queries] - centre) @ matrix.T + centre
        image, matched = self.nearest(moved)
        cosine = ((surface.normals[queries] @ matrix.T) * surface.normals[image]).sum(1)
        return image, matched & ((cosine if outward else np.abs(cosine)) >= _MIN_NORMAL_COSINE)


def _part_correspondence(
    sample_votes: Array, surface: SurfaceSamples, annotated: Array, image: Array, matched: Array
) -> Array | None:
    """Return the (P, P) probability that a sample whose image has part p has part q itself.

    Parameters
    ----------
    sample_votes : (S, P) float64
        Votes of the samples' faces, summing to 1 where annotated.
    surface : SurfaceSamples
    annotated : (S,) bool
    image : (S,) int64
        Sample at the image of every sample.
    matched : (S,) bool

    Returns
    -------
    (P, P) float64 or None
        None if the labels contradict the symmetry.
    """
    both = matched & annotated
    joint_area = (sample_votes[image][both] * surface.area[both, None]).T @ sample_votes[both]
    total = joint_area.sum(1, keepdims=True)
    if joint_area.max(1).sum() < _MIN_EXPLAINED_SHARE * joint_area.sum():
        return None
    observed = total[:, 0] > _MIN_PART_SAMPLES * surface.spacing**2
    labels_symmetric = np.trace(joint_area) >= _MIN_IDENTITY_SHARE * joint_area.sum()
    default = np.eye(len(joint_area)) if labels_symmetric else np.zeros_like(joint_area)
    return np.where(observed[:, None], joint_area / total.clip(1e-30), default)
