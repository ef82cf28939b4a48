"""Dense correspondence of two surfaces under bending, by functional maps (Ovsjanikov et al., 2012).

Several initial maps are refined by ZoomOut (Melzi et al., 2019). The map with the least distortion of distances along
the surface is selected. Bodies have an intrinsic mirror symmetry, so maps that agree with the registration in space
are preferred, which separates left from right.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any

import numpy as np

from slime3d.geometry.spectral import Spectrum, spectrum, wave_kernel
from slime3d.geometry.surface_sampling import SurfaceSamples
from slime3d.io.mesh import Mesh
from slimecore.array_types import Array

__all__ = ["LandmarkedSpectrum", "SurfaceMap", "fit_functional_map", "intrinsic_mirror_images", "intrinsic_symmetry"]

_LANDMARKS = 400  # nodes on which candidate maps are computed and compared
_REFINEMENT_NODES = 2000  # nodes on which the best candidates are refined
_CANDIDATE_FUNCTIONS = 20  # eigenfunctions of the candidate maps
_REFINED_CANDIDATES = 3  # candidates refined with all eigenfunctions
_SIGNED_FUNCTIONS = 5  # lowest eigenfunctions whose sign patterns are initial maps
_SPATIAL_WEIGHT = 0.1  # weight of the distance in space beside the distortion along the surface
_MIRROR_FUNCTIONS = 40  # eigenfunctions of a mirror map
_MIN_MEAN_DISPLACEMENT = 0.1  # share of the mean distance, below which a map counts as the identity
_INITIAL_FUNCTIONS = 12  # eigenfunctions of an initial map from positions and signatures
_CANDIDATE_STEP, _REFINEMENT_STEP = 2, 8  # eigenfunctions added by a ZoomOut step


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkedSpectrum:
    """Laplacian spectrum with landmarks, their distances, and wave kernel signatures.

    Parameters
    ----------
    shape : Spectrum
    marks : (m,) int64
        Landmark nodes.
    apart : (m, m) float64
        Distances between landmarks along the surface, divided by their mean. The division removes a factor of the
        triangulation, as paths along edges are longer than geodesics.
    nodes : (M,) int64
        Evenly spread nodes, the landmarks first.
    signature : (n, s) float64
        Wave kernel signatures (Aubry et al., 2011) of all nodes.
    """

    shape: Spectrum
    marks: Array
    apart: Array
    nodes: Array
    signature: Array

    @classmethod
    def of(cls, shape: Spectrum, landmarks: int = _LANDMARKS) -> LandmarkedSpectrum:
        """Select landmarks and compute their distances."""
        nodes = shape.farthest_points(_REFINEMENT_NODES)
        marks = nodes[:landmarks]
        apart = shape.distances(marks)[:, marks]
        return cls(shape, marks, apart / apart.mean(), nodes, wave_kernel(shape))


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceMap:
    """Map from the nodes of a target to the nodes of its source.

    Parameters
    ----------
    source_of : (n,) int64
        Source node of every target node.
    distortion : float
        Mean absolute change of distances along the surface, as a share of the mean distance. 0 for an isometry.
    """

    source_of: Array
    distortion: float


def fit_functional_map(
    source: LandmarkedSpectrum, target: LandmarkedSpectrum, registered: Array
) -> tuple[SurfaceMap, float]:
    """Fit a surface map from a target to its source.

    Parameters
    ----------
    source, target : LandmarkedSpectrum
    registered : (n, 3) float64
        Nodes of the target, registered to the source in space.

    Returns
    -------
    surface_map : SurfaceMap
    nearest_distortion : float
        Distortion of the map to the nearest source node in space, for comparison.
    """
    radius = float(np.sqrt(((source.shape.points - source.shape.points.mean(0)) ** 2).sum(1).mean()))
    marked_source = source.shape.points[source.marks] / radius
    marked_target = registered[target.marks] / radius

    def score(image: Array) -> tuple[float, float]:
        """Return the distortion of the map `image` (m,) of the landmarks, and its cost with the distance in space."""
        distortion = float(np.abs(source.apart[np.ix_(image, image)] - target.apart).mean())
        return distortion, distortion + _SPATIAL_WEIGHT * float(
            np.linalg.norm(marked_source[image] - marked_target, axis=1).mean()
        )

    candidates: list[tuple[float, int, Array]] = []
    for initial in _initial_maps(source, target, marked_source, marked_target):
        matrix = _zoom_out(source, target, source.marks, target.marks, initial, _CANDIDATE_FUNCTIONS, _CANDIDATE_STEP)
        size = len(matrix)
        embedding = target.shape.functions[target.marks, :size] @ matrix
        image = _nearest_rows(source.shape.functions[source.marks, :size], embedding)
        candidates.append((score(image)[1], len(candidates), matrix))
    best: tuple[float, float, Array] | None = None
    for _, _, candidate in sorted(candidates, key=lambda t: t[:2])[:_REFINED_CANDIDATES]:
        function_count = len(source.shape.values)
        matrix = _zoom_out(source, target, source.nodes, target.nodes, candidate, function_count, _REFINEMENT_STEP)
        embedding = target.shape.functions[target.marks] @ matrix
        image = _nearest_rows(source.shape.functions[source.marks], embedding)
        distortion, cost = score(image)
        if best is None or cost < best[0]:
            best = (cost, distortion, matrix)
    assert best is not None
    source_of = _nearest_rows(source.shape.functions, target.shape.functions @ best[2])
    nearest_distortion, _ = score(_nearest_rows(marked_source, marked_target))
    return SurfaceMap(source_of, best[1]), nearest_distortion


def intrinsic_symmetry(body: LandmarkedSpectrum) -> SurfaceMap | None:
    """Find the map of a body to itself that swaps left and right along its surface.

    Candidates that move nodes by less than a tenth of the mean distance on average are near the identity and left
    out. The remaining candidate with the least distortion is refined.

    Returns
    -------
    SurfaceMap or None
        None if all candidates are near the identity.
    """
    all_marks = np.arange(len(body.marks))
    candidates: list[tuple[float, int, Array]] = []
    for signs in itertools.product((1.0, -1.0), repeat=_SIGNED_FUNCTIONS - 1):
        matrix = _zoom_out(
            body, body, body.marks, body.marks, np.diag([1.0, *signs]), _CANDIDATE_FUNCTIONS, _CANDIDATE_STEP
        )
        size = len(matrix)
        functions = body.shape.functions[body.marks, :size]
        image = _nearest_rows(functions, functions @ matrix)
        if body.apart[all_marks, image].mean() < _MIN_MEAN_DISPLACEMENT:
            continue
        distortion = float(np.abs(body.apart[np.ix_(image, image)] - body.apart).mean())
        candidates.append((distortion, len(candidates), matrix))
    if not candidates:
        return None
    candidate = min(candidates, key=lambda t: t[:2])[2]
    matrix = _zoom_out(body, body, body.nodes, body.nodes, candidate, len(body.shape.values), _REFINEMENT_STEP)
    image_of = _nearest_rows(body.shape.functions, body.shape.functions @ matrix)
    mark_image = _nearest_rows(body.shape.points[body.marks], body.shape.points[image_of[body.marks]])
    distortion = float(np.abs(body.apart[np.ix_(mark_image, mark_image)] - body.apart).mean())
    return SurfaceMap(image_of, distortion)


def intrinsic_mirror_images(mesh: Mesh, surface: SurfaceSamples, tolerance: float) -> list[Array]:
    """Map surface samples to their mirror images along the surface of a bent body.

    Parameters
    ----------
    mesh : Mesh
    surface : SurfaceSamples
        S samples.
    tolerance : float
        Largest accepted distortion of the mirror map.

    Returns
    -------
    list of (S, 3) float64
        A single array of positions, NaN = no image. Empty if no map is accepted.
    """
    shape = spectrum(mesh, _MIRROR_FUNCTIONS)
    if shape is None:
        return []
    mirror = intrinsic_symmetry(LandmarkedSpectrum.of(shape, landmarks=_LANDMARKS // 2))
    if mirror is None or mirror.distortion > tolerance:
        return []
    node = shape.node_of[mesh.faces[surface.face, surface.bary.argmax(1)]]
    return [np.where(node[:, None] >= 0, shape.points[mirror.source_of[node]], np.nan)]


def _initial_maps(
    source: LandmarkedSpectrum, target: LandmarkedSpectrum, marked_source: Array, marked_target: Array
) -> list[Array]:
    """Return initial functional maps (k, k) from the source to the target.

    They are sign patterns of the lowest eigenfunctions, and fits to nearest landmarks by signature and position.
    """
    out = [np.diag([1.0, *signs]) for signs in itertools.product((1.0, -1.0), repeat=_SIGNED_FUNCTIONS - 1)]
    for spatial, spectral in ((0.0, 1.0), (0.3, 1.0), (1.0, 1.0), (1.0, 0.0)):
        a = np.concatenate([spectral * source.signature[source.marks], spatial * marked_source], 1)
        b = np.concatenate([spectral * target.signature[target.marks], spatial * marked_target], 1)
        out.append(_fit_matrix(source, target, source.marks[_nearest_rows(a, b)], target.marks, _INITIAL_FUNCTIONS))
    return out


def _zoom_out(
    source: LandmarkedSpectrum,
    target: LandmarkedSpectrum,
    source_nodes: Array,
    target_nodes: Array,
    matrix: Array,
    function_count: int,
    step: int,
) -> Any:
    """Refine a functional map by ZoomOut (Melzi et al., 2019) up to `function_count` eigenfunctions.

    Each step computes the nearest nodes under the functional map, and fits a larger map to them.
    """
    size = len(matrix)
    while True:
        embedding = target.shape.functions[target_nodes, :size] @ matrix
        image = source_nodes[_nearest_rows(source.shape.functions[source_nodes, :size], embedding)]
        size = min(size + step, function_count)
        matrix = _fit_matrix(source, target, image, target_nodes, size)
        if size == function_count:
            return matrix


def _fit_matrix(source: LandmarkedSpectrum, target: LandmarkedSpectrum, image: Array, nodes: Array, size: int) -> Any:
    """Return the least-squares functional map (size, size) of a map `image` of target nodes to source nodes."""
    a, b = target.shape.functions[nodes, :size], source.shape.functions[image, :size]
    return np.linalg.lstsq(a, b, rcond=None)[0]


def _nearest_rows(rows: Array, queries: Array) -> Array:
    """Return the index of the nearest row (n, d) for every query (m, d), exact, by matrix products."""
    a, b = rows.astype(np.float32), queries.astype(np.float32)
    half_norm = 0.5 * (a**2).sum(1)
    nearest = [(half_norm[None] - b[i : i + 1024] @ a.T).argmin(1) for i in range(0, len(b), 1024)]
    return np.concatenate(nearest)
