"""Which place of one body is which place of another, however both are bent.

Functional maps refined by ZoomOut (Melzi et al. 2019), from several guesses; the one that keeps distances along the
surface best is taken. Bodies are their own mirror images along the surface: the guesses that also agree with the
alignment in space are preferred, so left stays left where the space can tell.
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

_LANDMARKS = 400  # nodes that guesses are tried and judged on
_NODES = 2000  # nodes that refine the best
_FIRST = 20  # functions up to which all guesses are refined
_KEPT = 3  # guesses refined to the end
_SIGNS = 5  # smoothest functions whose signs are tried in all ways
_SPACE = 0.1  # weight of the alignment in space beside distances along the surface
_MIRROR = 40  # eigenfunctions of a mirror map
_MOVED = 0.1  # mean way of places, of the mean distance, below which a map is the identity
_INITIAL = 12  # functions of a guess made from places and signatures


@dataclass(frozen=True, slots=True, eq=False)
class LandmarkedSpectrum:
    """A spectrum with what maps are judged by.

    Parameters
    ----------
    shape : Spectrum
    marks : (m,) int64
        Landmarks.
    apart : (m, m) float64
        Distances along the surface between landmarks, as multiples of their mean: ways along edges are longer than the
        true ones by a factor that depends on the triangles.
    nodes : (M,) int64
        Evenly spread nodes.
    signature : (n, s) float64
        Wave kernel signatures.
    """

    shape: Spectrum
    marks: Array
    apart: Array
    nodes: Array
    signature: Array

    @classmethod
    def of(cls, shape: Spectrum, landmarks: int = _LANDMARKS) -> LandmarkedSpectrum:
        """Landmarks of a spectrum."""
        nodes = shape.farthest_points(_NODES)
        marks = nodes[:landmarks]
        apart = shape.distances(marks)[:, marks]
        return cls(shape, marks, apart / apart.mean(), nodes, wave_kernel(shape))


@dataclass(frozen=True, slots=True, eq=False)
class SurfaceMap:
    """A map from a target to its source.

    Parameters
    ----------
    source_of : (n,) int64
        Node of the source for every node of the target.
    distortion : float
        Mean change of distances along the surface, as a share of the mean distance; 0 for an isometry.
    """

    source_of: Array
    distortion: float


def fit_functional_map(
    source: LandmarkedSpectrum, target: LandmarkedSpectrum, place: Array
) -> tuple[SurfaceMap, float]:
    """Map a target to its source; also the distortion of plain nearest places.

    Parameters
    ----------
    source, target : Anchored
    place : (n, 3) float64
        Nodes of the target, laid onto the source in space.
    """
    radius = float(np.sqrt(((source.shape.points - source.shape.points.mean(0)) ** 2).sum(1).mean()))
    marked_source = source.shape.points[source.marks] / radius
    marked_target = place[target.marks] / radius

    def judged(image: Array) -> tuple[float, float]:
        """Distortion, and distortion with what the space says, of an image (m,) of the target's landmarks."""
        bent = float(np.abs(source.apart[np.ix_(image, image)] - target.apart).mean())
        return bent, bent + _SPACE * float(np.linalg.norm(marked_source[image] - marked_target, axis=1).mean())

    tried: list[tuple[float, int, Array]] = []
    for start in _guesses(source, target, marked_source, marked_target):
        matrix = _refined(source, target, source.marks, target.marks, start, _FIRST, 2)
        width = len(matrix)
        at = target.shape.functions[target.marks, :width] @ matrix
        image = _nearest(source.shape.functions[source.marks, :width], at)
        tried.append((judged(image)[1], len(tried), matrix))
    best: tuple[float, float, Array] | None = None
    for _, _, first in sorted(tried, key=lambda t: t[:2])[:_KEPT]:
        most = len(source.shape.values)
        matrix = _refined(source, target, source.nodes, target.nodes, first, most, 8)
        at = target.shape.functions[target.marks] @ matrix
        image = _nearest(source.shape.functions[source.marks], at)
        bent, worth = judged(image)
        if best is None or worth < best[0]:
            best = (worth, bent, matrix)
    assert best is not None
    found = _nearest(source.shape.functions, target.shape.functions @ best[2])
    plain, _ = judged(_nearest(marked_source, marked_target))
    return SurfaceMap(found, best[1]), plain


def intrinsic_symmetry(body: LandmarkedSpectrum) -> SurfaceMap | None:
    """The map of a body to itself that swaps left and right along its surface, however it is bent; None if none is.

    Of all guesses that move places by a tenth of the mean distance on average, the one that keeps distances best.
    """
    every = np.arange(len(body.marks))
    tried: list[tuple[float, int, Array]] = []
    for signs in itertools.product((1.0, -1.0), repeat=_SIGNS - 1):
        matrix = _refined(body, body, body.marks, body.marks, np.diag([1.0, *signs]), _FIRST, 2)
        width = len(matrix)
        functions = body.shape.functions[body.marks, :width]
        image = _nearest(functions, functions @ matrix)
        if body.apart[every, image].mean() < _MOVED:
            continue
        bent = float(np.abs(body.apart[np.ix_(image, image)] - body.apart).mean())
        tried.append((bent, len(tried), matrix))
    if not tried:
        return None
    first = min(tried, key=lambda t: t[:2])[2]
    matrix = _refined(body, body, body.nodes, body.nodes, first, len(body.shape.values), 8)
    found = _nearest(body.shape.functions, body.shape.functions @ matrix)
    marked = _nearest(body.shape.points[body.marks], body.shape.points[found[body.marks]])
    bent = float(np.abs(body.apart[np.ix_(marked, marked)] - body.apart).mean())
    return SurfaceMap(found, bent)


def intrinsic_mirror_images(mesh: Mesh, surface: SurfaceSamples, most: float) -> list[Array]:
    """Where a bent body's mirror map takes the samples of its surface: one (S, 3) array, NaN = nowhere, or none.

    Parameters
    ----------
    mesh : Mesh
    surface : Surface
    most : float
        Distortion up to which the map is believed.
    """
    shape = spectrum(mesh, _MIRROR)
    if shape is None:
        return []
    found = intrinsic_symmetry(LandmarkedSpectrum.of(shape, landmarks=_LANDMARKS // 2))
    if found is None or found.distortion > most:
        return []
    node = shape.node_of[mesh.faces[surface.face, surface.bary.argmax(1)]]
    return [np.where(node[:, None] >= 0, shape.points[found.source_of[node]], np.nan)]


def _guesses(
    source: LandmarkedSpectrum, target: LandmarkedSpectrum, marked_source: Array, marked_target: Array
) -> list[Array]:
    """Matrices (k, k) that take functions of the source to functions of the target."""
    out = [np.diag([1.0, *signs]) for signs in itertools.product((1.0, -1.0), repeat=_SIGNS - 1)]
    for space, form in ((0.0, 1.0), (0.3, 1.0), (1.0, 1.0), (1.0, 0.0)):
        a = np.concatenate([form * source.signature[source.marks], space * marked_source], 1)
        b = np.concatenate([form * target.signature[target.marks], space * marked_target], 1)
        out.append(_fitted(source, target, source.marks[_nearest(a, b)], target.marks, _INITIAL))
    return out


def _refined(
    source: LandmarkedSpectrum,
    target: LandmarkedSpectrum,
    some: Array,
    others: Array,
    matrix: Array,
    most: int,
    step: int,
) -> Any:
    """ZoomOut: the map of places gives a larger map of functions, which gives a finer map of places."""
    width = len(matrix)
    while True:
        at = target.shape.functions[others, :width] @ matrix
        image = some[_nearest(source.shape.functions[some, :width], at)]
        width = min(width + step, most)
        matrix = _fitted(source, target, image, others, width)
        if width == most:
            return matrix


def _fitted(source: LandmarkedSpectrum, target: LandmarkedSpectrum, image: Array, nodes: Array, width: int) -> Any:
    a, b = target.shape.functions[nodes, :width], source.shape.functions[image, :width]
    return np.linalg.lstsq(a, b, rcond=None)[0]


def _nearest(known: Array, asking: Array) -> Array:
    """Index of the nearest known row for every asking row; exact, by products of matrices."""
    a, b = known.astype(np.float32), asking.astype(np.float32)
    half = 0.5 * (a**2).sum(1)
    out = [(half[None] - b[i : i + 1024] @ a.T).argmin(1) for i in range(0, len(b), 1024)]
    return np.concatenate(out)
