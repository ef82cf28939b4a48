"""Labels of one mesh applied to others of its kind."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from slime3d.geometry.functional_map import LandmarkedSpectrum, fit_functional_map
from slime3d.geometry.registration import SimilarityTransform, register_similarity
from slime3d.geometry.spectral import spectrum
from slime3d.io.mesh import Mesh
from slime3d.labelling.random_walk import FaceLabels, WalkConfig, random_walk_labels
from slime3d.labelling.votes import FaceVotes
from slime3d.transfer.shape_features import MeshSamples, form_of
from slime3d.transfer.similarity import cross_validated_trust, vote_by_feature, vote_by_position, vote_by_target_color
from slimecore.array_types import Array
from slimecore.errors import ConfigError, InputError

__all__ = ["METHODS", "PreparedMesh", "SourceMesh", "TransferConfig", "TransferResult", "transfer_labels"]

METHODS = ("auto", "nearest")
_FORM, _COLOR = 0.05, 0.05  # widths within which extents (of the radius) and colours (of 0..1) are alike


@dataclass(frozen=True, slots=True)
class TransferConfig:
    """Settings of transfer.

    Parameters
    ----------
    method : str
        ``auto``, or ``nearest``: the nearest place after alignment, the floor.
    search : bool
        Try all orientations; otherwise the meshes are taken to stand the same way up and look the same way.
    form, color, own_color : float
        Weights of the sources beside place, before trust; 0 switches one off.
    surface : bool
        Map bodies along the surface, however they are bent.
    functions : int
        Eigenfunctions of those maps.
    prefer : float
        Difference of distortion at which one of place and surface counts e times the other.
    weight : float
        Of all evidence against the bonds of the walk; 0: every face is taken as it is.
    walk : WalkConfig
    """

    method: str = "auto"
    search: bool = False
    form: float = 1.0
    color: float = 1.0
    own_color: float = 1.0
    surface: bool = True
    functions: int = 60
    prefer: float = 0.02
    weight: float = 0.1
    walk: WalkConfig = field(default_factory=WalkConfig)

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        for name in ("form", "color", "own_color", "weight"):
            if not 0 <= getattr(self, name) <= 1e3:
                raise ConfigError(f"{name} must be 0 .. 1000, got {getattr(self, name)}")
        if not 20 <= self.functions <= 200:
            raise ConfigError(f"functions must be 20 .. 200, got {self.functions}")
        if not self.prefer > 0:
            raise ConfigError(f"prefer must be above 0, got {self.prefer}")


@dataclass(frozen=True, slots=True, eq=False)
class PreparedMesh:
    """A mesh prepared for transfer; one source serves many targets.

    Parameters
    ----------
    form : Form
    body : Anchored or None
        None where the mesh is made of pieces, or surface maps are off.
    """

    form: MeshSamples
    body: LandmarkedSpectrum | None

    @classmethod
    def of(cls, mesh: Mesh, config: TransferConfig) -> PreparedMesh:
        """Prepare a mesh."""
        shape = spectrum(mesh, config.functions) if config.surface and config.method == "auto" else None
        return cls(form_of(mesh), None if shape is None else LandmarkedSpectrum.of(shape))


@dataclass(frozen=True, slots=True, eq=False)
class SourceMesh:
    """A labelled mesh, and what of it may be trusted on others.

    Parameters
    ----------
    kin : Kin
    rows : (F,) int64
        Part row of every face, -1 = not labelled.
    parts : int
        P.
    form, color : float
        Trust in extents of shells, and in colours, 0..1.
    """

    kin: PreparedMesh
    rows: Array
    parts: int
    form: float
    color: float

    @classmethod
    def of(cls, kin: PreparedMesh, rows: Array, parts: int) -> SourceMesh:
        """Test form and colour on the mesh itself.

        Raises
        ------
        InputError
            No face is labelled.
        """
        form = kin.form
        known = np.flatnonzero(rows[form.surface.face] >= 0)
        if not len(known):
            raise InputError("the source of a transfer has no labelled face")
        face = form.surface.face[known]
        labels, region, area = rows[face], _regions(form, rows)[face], form.surface.area[known]
        extents = form.extents(np.eye(3), 1 / form.radius)
        shape = (
            cross_validated_trust(extents[known], labels, region, area, parts, _FORM) if len(form.middle) > 1 else 0.0
        )
        color = (
            0.0 if form.color is None else cross_validated_trust(form.color[known], labels, region, area, parts, _COLOR)
        )
        return cls(kin, rows, parts, shape, color)


@dataclass(frozen=True, slots=True, eq=False)
class TransferResult:
    """Labels of a target, and what they rest on.

    Parameters
    ----------
    labels : FaceLabels
    alignment : Alignment
    weights : mapping of str to float
        How much each source of evidence counted.
    """

    labels: FaceLabels
    alignment: SimilarityTransform
    weights: dict[str, float]


def transfer_labels(donor: SourceMesh, target: PreparedMesh, config: TransferConfig | None = None) -> TransferResult:
    """Label a target as its source is labelled.

    Parameters
    ----------
    donor : Donor
    target : Kin
    config : TransferConfig, optional
    """
    config = config or TransferConfig()
    a, b, parts = donor.kin.form, target.form, donor.parts
    laid = register_similarity(a.surface, b.surface, search=config.search)
    known = np.flatnonzero(donor.rows[a.surface.face] >= 0)
    labels = donor.rows[a.surface.face[known]]
    if config.method == "nearest":
        near = vote_by_position(a.surface.points[known], labels, laid(b.surface.points), parts, nearest=True)
        return TransferResult(_decided(b, near, config, plain=True), laid, {"place": 1.0})
    size = 1 / a.radius
    known_at = a.places(np.eye(3), size, np.zeros(3))[known]
    asking_at = b.places(laid.turn, laid.scale * size, laid.shift * size)
    total = np.log(vote_by_position(known_at, labels, asking_at, parts))
    total, weights = _with_surface(donor, target, laid, total, config)
    offers = {"form": (a.extents(np.eye(3), size), b.extents(laid.turn, laid.scale * size), _FORM)}
    if a.color is not None and b.color is not None:
        offers["color"] = (a.color, b.color, _COLOR)
    for name, (have, want, width) in offers.items():
        weights[name] = getattr(config, name) * getattr(donor, name)
        if weights[name] > 0:
            total += weights[name] * np.log(vote_by_feature(have[known], labels, want, parts, width))
    own = config.own_color * donor.color
    if b.color is not None and own > 0:
        first = total
        for _ in range(3):
            total = first + own * np.log(vote_by_target_color(b.color, _chances(total), b.surface.area))
    return TransferResult(_decided(b, _chances(total), config, plain=config.weight == 0), laid, weights)


def _with_surface(
    donor: SourceMesh, target: PreparedMesh, laid: SimilarityTransform, place: Array, config: TransferConfig
) -> tuple[Array, dict[str, float]]:
    """Place and surface map, weighted by how well each keeps distances along the surface."""
    source, rows, parts = donor.kin, donor.rows, donor.parts
    if not config.surface or source.body is None or target.body is None:
        return place, {"place": 1.0}
    found, plain = fit_functional_map(source.body, target.body, laid(target.body.shape.points))
    share = float(1 / (1 + np.exp((found.distortion - plain) / config.prefer)))
    shape, mesh = source.body.shape, source.form.mesh
    votes = np.zeros((len(shape.points), parts))
    nodes, areas = shape.node_of[mesh.faces], mesh.areas()
    for corner in range(3):
        good = (nodes[:, corner] >= 0) & (rows >= 0)
        np.add.at(votes, (nodes[good, corner], rows[good]), areas[good])
    chance = (votes + 1e-12) / (votes.sum(1, keepdims=True) + 1e-12 * parts)
    surface = target.form.surface
    corner = surface.bary.argmax(1)
    node = target.body.shape.node_of[target.form.mesh.faces[surface.face, corner]]
    says = np.full((len(node), parts), 1 / parts)
    says[node >= 0] = (chance[found.source_of[node[node >= 0]]] + 0.01 / parts) / 1.01
    return (1 - share) * place + share * np.log(says), {"place": 1 - share, "surface": share}


def _regions(form: MeshSamples, rows: Array) -> Array:
    """(F,) connected regions of equal label."""
    from slime3d.geometry.face_graph import connected_components

    same = rows[form.pairs[:, 0]] == rows[form.pairs[:, 1]]
    return connected_components(len(rows), form.pairs[same])


def _chances(total: Array) -> Array:
    chance = np.exp(total - total.max(1, keepdims=True))
    return np.asarray(chance / chance.sum(1, keepdims=True))


def _decided(form: MeshSamples, chance: Array, config: TransferConfig, *, plain: bool) -> FaceLabels:
    """Faces from samples, then the walk; `plain`: a walk so weak that only faces without a sample notice it."""
    surface, count = form.surface, len(form.mesh.faces)
    tiny = 1e-9 * float(surface.area.mean())
    area = surface.area + tiny
    summed = [np.bincount(surface.face, area * chance[:, p], minlength=count) for p in range(chance.shape[1])]
    votes = np.stack(summed, 1) / np.bincount(surface.face, area, minlength=count).clip(tiny / 2)[:, None]
    return random_walk_labels(
        form.mesh, [FaceVotes(votes * (1e6 if plain else config.weight), is_fixed=False)], config.walk
    )
