"""Transfer of part labels from a labelled mesh to another mesh of the same category."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

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
_EXTENT_WIDTH_RADII = 0.05  # kernel width over extents of shells, in radii of the source
_COLOR_WIDTH = 0.05  # kernel width over colours of 0..1
_FUNCTIONS = 60  # eigenfunctions of the surface maps
_DISTORTION_SCALE = 0.02  # difference of distortion at which surface counts e times position, or the reverse
_COLOR_PASSES = 3  # repetitions of the votes by the target's own colours
_UNSMOOTHED_WEIGHT = 1e6  # of votes beside edge weights: the random walk only fills faces without a sample


@dataclass(frozen=True, slots=True)
class TransferConfig:
    """Settings of transfer.

    Parameters
    ----------
    method : str
        ``auto``, or ``nearest``: label of the nearest source sample after registration, the baseline.
    search : bool
        Test all 24 axis orientations. Otherwise both meshes must have the same up axis and front.
    form, color, own_color : float
        Weights of the votes by shell extents, by colours of the source, and by colours of the target, 0 .. 1000,
        multiplied by their measured trust. Position has weight 1. 0 switches a vote off.
    surface : bool
        Use surface maps between bodies made of a single component, in any pose.
    weight : float
        Weight of the votes in the random walk, 0 .. 1000, beside edge weights of at most 1. 0: faces keep their most
        probable label.
    walk : WalkConfig
    """

    method: str = "auto"
    search: bool = False
    form: float = 1.0
    color: float = 1.0
    own_color: float = 1.0
    surface: bool = True
    weight: float = 0.1
    walk: WalkConfig = field(default_factory=WalkConfig)

    RENAMED = MappingProxyType({"functions": "", "prefer": ""})

    def __post_init__(self) -> None:
        if self.method not in METHODS:
            raise ConfigError(f"method must be one of {', '.join(METHODS)}, got {self.method!r}")
        for name in ("form", "color", "own_color", "weight"):
            if not 0 <= getattr(self, name) <= 1e3:
                raise ConfigError(f"{name} must be 0 .. 1000, got {getattr(self, name)}")


@dataclass(frozen=True, slots=True, eq=False)
class PreparedMesh:
    """Precomputed features of a mesh. A prepared source serves many targets.

    Parameters
    ----------
    form : MeshSamples
    body : LandmarkedSpectrum or None
        None if the mesh consists of several components, or if surface maps are off.
    """

    form: MeshSamples
    body: LandmarkedSpectrum | None

    @classmethod
    def of(cls, mesh: Mesh, config: TransferConfig) -> PreparedMesh:
        """Sample a mesh and compute its spectrum."""
        shape = spectrum(mesh, _FUNCTIONS) if config.surface and config.method == "auto" else None
        return cls(form_of(mesh), None if shape is None else LandmarkedSpectrum.of(shape))


@dataclass(frozen=True, slots=True, eq=False)
class SourceMesh:
    """Labelled mesh with the measured trust in its shape and colour features.

    Parameters
    ----------
    kin : PreparedMesh
    rows : (F,) int64
        Part row of every face, -1 = unlabelled.
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
        """Measure the trust in shape and colour by cross-validation on the mesh itself.

        Parameters
        ----------
        kin : PreparedMesh
        rows : (F,) int64
            Part row of every face, -1 = unlabelled.
        parts : int
            P.

        Returns
        -------
        SourceMesh

        Raises
        ------
        InputError
            No face is labelled.
        """
        form = kin.form
        labelled = np.flatnonzero(rows[form.surface.face] >= 0)
        if not len(labelled):
            raise InputError("the source of a transfer has no labelled face")
        face = form.surface.face[labelled]
        labels, region, area = rows[face], _label_regions(form, rows)[face], form.surface.area[labelled]
        extents = form.extents(np.eye(3), 1 / form.radius)
        extent_trust = (
            cross_validated_trust(extents[labelled], labels, region, area, parts, _EXTENT_WIDTH_RADII)
            if len(form.shell_centroid) > 1
            else 0.0
        )
        color_trust = (
            0.0
            if form.color is None
            else cross_validated_trust(form.color[labelled], labels, region, area, parts, _COLOR_WIDTH)
        )
        return cls(kin, rows, parts, extent_trust, color_trust)


@dataclass(frozen=True, slots=True, eq=False)
class TransferResult:
    """Labels of a target with the registration and vote weights behind them.

    Parameters
    ----------
    labels : FaceLabels
    alignment : SimilarityTransform
        From the target to the source.
    weights : mapping of str to float
        Weight of every kind of vote.
    """

    labels: FaceLabels
    alignment: SimilarityTransform
    weights: dict[str, float]


def transfer_labels(donor: SourceMesh, target: PreparedMesh, config: TransferConfig | None = None) -> TransferResult:
    """Transfer the labels of a source mesh to a target mesh (docs/adr/0016).

    Parameters
    ----------
    donor : SourceMesh
    target : PreparedMesh
    config : TransferConfig, optional

    Returns
    -------
    TransferResult
    """
    config = config or TransferConfig()
    source, samples, parts = donor.kin.form, target.form, donor.parts
    transform = register_similarity(source.surface, samples.surface, search=config.search)
    labelled = np.flatnonzero(donor.rows[source.surface.face] >= 0)
    labels = donor.rows[source.surface.face[labelled]]
    if config.method == "nearest":
        votes = vote_by_position(
            source.surface.points[labelled], labels, transform(samples.surface.points), parts, nearest=True
        )
        return TransferResult(_label_faces(samples, votes, config, unsmoothed=True), transform, {"place": 1.0})
    unit = 1 / source.radius
    source_features = source.places(np.eye(3), unit, np.zeros(3))[labelled]
    target_features = samples.places(transform.turn, transform.scale * unit, transform.shift * unit)
    log_votes = np.log(vote_by_position(source_features, labels, target_features, parts))
    log_votes, weights = _combine_position_and_surface(donor, target, transform, log_votes, config)
    features = {
        "form": (
            source.extents(np.eye(3), unit),
            samples.extents(transform.turn, transform.scale * unit),
            _EXTENT_WIDTH_RADII,
        )
    }
    if source.color is not None and samples.color is not None:
        features["color"] = (source.color, samples.color, _COLOR_WIDTH)
    for name, (source_feature, target_feature, width) in features.items():
        weights[name] = getattr(config, name) * getattr(donor, name)
        if weights[name] > 0:
            log_votes += weights[name] * np.log(
                vote_by_feature(source_feature[labelled], labels, target_feature, parts, width)
            )
    own_color_weight = config.own_color * donor.color
    if samples.color is not None and own_color_weight > 0:
        initial = log_votes
        for _ in range(_COLOR_PASSES):
            log_votes = initial + own_color_weight * np.log(
                vote_by_target_color(samples.color, _softmax(log_votes), samples.surface.area)
            )
    return TransferResult(
        _label_faces(samples, _softmax(log_votes), config, unsmoothed=config.weight == 0), transform, weights
    )


def _combine_position_and_surface(
    donor: SourceMesh, target: PreparedMesh, transform: SimilarityTransform, position: Array, config: TransferConfig
) -> tuple[Array, dict[str, float]]:
    """Average the log votes (S, P) by position and by surface map.

    The weights are logistic in the difference of both distortions of distances along the surface.
    """
    source, rows, parts = donor.kin, donor.rows, donor.parts
    if not config.surface or source.body is None or target.body is None:
        return position, {"place": 1.0}
    surface_map, nearest_distortion = fit_functional_map(source.body, target.body, transform(target.body.shape.points))
    surface_share = float(1 / (1 + np.exp((surface_map.distortion - nearest_distortion) / _DISTORTION_SCALE)))
    shape, mesh = source.body.shape, source.form.mesh
    votes = np.zeros((len(shape.points), parts))
    nodes, areas = shape.node_of[mesh.faces], mesh.areas()
    for corner in range(3):
        usable = (nodes[:, corner] >= 0) & (rows >= 0)
        np.add.at(votes, (nodes[usable, corner], rows[usable]), areas[usable])
    probability = (votes + 1e-12) / (votes.sum(1, keepdims=True) + 1e-12 * parts)
    surface = target.form.surface
    corner = surface.bary.argmax(1)
    node = target.body.shape.node_of[target.form.mesh.faces[surface.face, corner]]
    surface_votes = np.full((len(node), parts), 1 / parts)
    surface_votes[node >= 0] = (probability[surface_map.source_of[node[node >= 0]]] + 0.01 / parts) / 1.01
    return (1 - surface_share) * position + surface_share * np.log(surface_votes), {
        "place": 1 - surface_share,
        "surface": surface_share,
    }


def _label_regions(form: MeshSamples, rows: Array) -> Array:
    """Return the index (F,) of the connected region of equal label of every face."""
    from slime3d.geometry.face_graph import connected_components

    equal_labels = rows[form.pairs[:, 0]] == rows[form.pairs[:, 1]]
    return connected_components(len(rows), form.pairs[equal_labels])


def _softmax(log_votes: Array) -> Array:
    """Return probabilities (S, P) that sum to 1 over P."""
    probability = np.exp(log_votes - log_votes.max(1, keepdims=True))
    return np.asarray(probability / probability.sum(1, keepdims=True))


def _label_faces(form: MeshSamples, probability: Array, config: TransferConfig, *, unsmoothed: bool) -> FaceLabels:
    """Average samples to votes of faces, and label all faces by the random walk.

    With `unsmoothed`, votes outweigh the edges so far that the walk only labels faces without a sample.
    """
    surface, count = form.surface, len(form.mesh.faces)
    min_area = 1e-9 * float(surface.area.mean())
    area = surface.area + min_area
    weighted = [
        np.bincount(surface.face, area * probability[:, p], minlength=count) for p in range(probability.shape[1])
    ]
    votes = np.stack(weighted, 1) / np.bincount(surface.face, area, minlength=count).clip(min_area / 2)[:, None]
    return random_walk_labels(
        form.mesh,
        [FaceVotes(votes * (_UNSMOOTHED_WEIGHT if unsmoothed else config.weight), is_fixed=False)],
        config.walk,
    )
