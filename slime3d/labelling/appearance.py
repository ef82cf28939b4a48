"""Appearance of the annotated views as evidence for the other sides of the same mesh (docs/adr/0022).

Part embeddings are learned from the annotated views, and a mask memory stores these views permanently. Both are read
on views all around the mesh, and every pixel votes for its face. The background is known exactly from the renderer.
The weight of the votes is calibrated on the annotated faces, as the other views show them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from slime3d.io.mesh import Mesh
from slime3d.labelling.votes import FaceVotes, cast_votes
from slime3d.rendering.cameras import Cameras, orbit_cameras
from slime3d.rendering.renderers import Renderer, fragments_of
from slime3d.rendering.shading import lighting_normals, shade
from slimecore.array_types import Array
from slimecore.backbones import ModelSpec
from slimecore.errors import ConfigError
from slimecore.learning.probe_config import LearnConfig
from slimecore.memory.config import MemoryConfig

__all__ = ["AnnotatedViews", "AppearanceConfig", "appearance_votes", "calibrate", "read_views"]

_VIEWS = 12  # views around the mesh
_NETWORK_SIDE_PIXELS = 256  # side of the square views, and of the network's input
_SEED = 0  # of learning and of the memory's keys
_UNIFORM_SHARE = 0.05  # uniform probability mixed into both readings, so that neither excludes a part alone
_SAME_VIEW_COSINE = 0.99  # between view directions: a view nearer to an annotated one would confirm itself


@dataclass(frozen=True, slots=True)
class AppearanceConfig:
    """Settings of the appearance votes.

    Parameters
    ----------
    weight : float
        Weight of the votes of a face, 0 .. 1000, beside edge weights of at most 1. 0 switches them off.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    model : ModelSpec
        Backbone.
    """

    weight: float = 0.03
    device: str = "auto"
    model: ModelSpec = field(default_factory=ModelSpec)

    RENAMED = MappingProxyType({"views": "", "size": "", "seed": ""})

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1e3:
            raise ConfigError(f"appearance.weight must be 0 .. 1000, got {self.weight}")


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedViews:
    """Annotated views of a mesh, with the renderer and up axis for further views.

    Parameters
    ----------
    face_id : (A, h, w) int32
        Face shown by every pixel, -1 = none.
    rows : (A, h, w) int
        Part row, -1 = unlabelled.
    cameras : Cameras
        Cameras of the A views.
    renderer : Renderer
    up : str
        Axis of the file that points up.
    """

    face_id: Array
    rows: Array
    cameras: Cameras
    renderer: Renderer
    up: str = "y"


def appearance_votes(
    mesh: Mesh, votes: Array, given: AnnotatedViews, uncertainty: Array, config: AppearanceConfig
) -> FaceVotes:
    """Compute votes for unlabelled faces from the appearance of the parts.

    Parameters
    ----------
    mesh : Mesh
    votes : (F, P) float64
        Votes of the annotation. Rows of zeros are unlabelled faces.
    given : AnnotatedViews
    uncertainty : (F,) float
        Factor of the votes of every face, 0..1. Appearance is less reliable than shape where the shape decides.
    config : AppearanceConfig

    Returns
    -------
    FaceVotes
        Soft votes, none on annotated faces.

    Raises
    ------
    SlimeError
        The model or device is not available.
    """
    no_votes = FaceVotes(np.zeros_like(votes), is_fixed=False)
    if config.weight == 0 or len(np.unique(given.rows[(given.face_id >= 0) & (given.rows >= 0)])) < 2:
        return no_votes
    probability = read_views(mesh, given, votes.shape[1], config)
    reliability = calibrate(probability, votes, mesh.areas())
    openness = np.where(votes.sum(1) > 0, 0, uncertainty)
    return (
        FaceVotes(config.weight * reliability * openness[:, None] * probability, is_fixed=False)
        if reliability
        else no_votes
    )


def calibrate(probability: Array, votes: Array, areas: Array) -> float:
    """Measure the agreement of read parts with the annotation, 0..1.

    It is ``max(0, 2 mIoU - 1)`` with the mean IoU of the annotated parts by area. Labelling everything as the largest
    part gives at most half an IoU, hence 0.

    Parameters
    ----------
    probability : (F, P) float64
        Part probabilities as read. Rows of zeros are left out.
    votes : (F, P) float64
        Votes of the annotation. Rows of zeros are left out.
    areas : (F,) float64

    Returns
    -------
    float
    """
    comparable = (votes.sum(1) > 0) & (probability.sum(1) > 0)
    truth, predicted = votes[comparable].argmax(1), probability[comparable].argmax(1)
    parts = np.flatnonzero(votes.sum(0) > 0)
    if not comparable.any():
        return 0.0
    joint_area = np.zeros((votes.shape[1], votes.shape[1]))
    np.add.at(joint_area, (truth, predicted), areas[comparable])
    union = joint_area.sum(0) + joint_area.sum(1) - joint_area.diagonal()
    iou = joint_area.diagonal()[parts] / union[parts].clip(1e-30)
    return max(0.0, 2 * float(iou.mean()) - 1)


def read_views(mesh: Mesh, given: AnnotatedViews, parts: int, config: AppearanceConfig) -> Array:
    """Read part probabilities of all faces on views other than the annotated ones.

    Parameters
    ----------
    mesh : Mesh
    given : AnnotatedViews
    parts : int
        P.
    config : AppearanceConfig

    Returns
    -------
    (F, P) float64
        Rows sum to 1, or are zeros for faces no other view shows.
    """
    labelled_rows = np.unique(given.rows[(given.face_id >= 0) & (given.rows >= 0)])
    normals = lighting_normals(mesh)
    reader = _ViewReader(mesh, given, labelled_rows, normals, config)
    readout_votes, memory_votes = (np.zeros((len(mesh.faces), len(labelled_rows))) for _ in range(2))
    for face_id, picture in _other_views(mesh, given, normals, config):
        for votes, soft in zip((readout_votes, memory_votes), reader(picture), strict=True):
            votes += cast_votes(face_id, soft[None], len(mesh.faces))
    out = np.zeros((len(mesh.faces), parts))
    out[:, labelled_rows] = _combine_readings(readout_votes, memory_votes)
    return out


def _combine_readings(readout_votes: Array, memory_votes: Array) -> Array:
    """Return the normalised product (F, P) of two readings' mean votes, zeros for faces without votes.

    This is a product of experts (Hinton, 2002).
    """
    product = np.ones_like(readout_votes)
    for votes in (readout_votes, memory_votes):
        product *= (1 - _UNIFORM_SHARE) * votes / votes.sum(1, keepdims=True).clip(
            1e-12
        ) + _UNIFORM_SHARE / votes.shape[1]
    product[readout_votes.sum(1) + memory_votes.sum(1) <= 1e-12] = 0
    return np.asarray(product / product.sum(1, keepdims=True).clip(1e-30))


def _other_views(
    mesh: Mesh, given: AnnotatedViews, normals: Array, config: AppearanceConfig
) -> Iterator[tuple[Array, Array]]:
    """Yield face ids (1, h, w) and image (h, w, 3) of all orbit views that are not near an annotated view."""
    orbit = orbit_cameras(mesh.used(), _VIEWS, _NETWORK_SIDE_PIXELS, given.up)
    centre = (mesh.used().min(0) + mesh.used().max(0)) / 2
    new_directions, annotated_directions = (_directions(cameras, centre) for cameras in (orbit, given.cameras))
    for view in np.flatnonzero((new_directions @ annotated_directions.T).max(1) < _SAME_VIEW_COSINE):
        camera = orbit[view : view + 1]
        fragments = given.renderer.rasterize(mesh.vertices, mesh.faces, camera)
        yield fragments.face_id, shade(fragments, mesh, camera, "auto", normals)[0]


def _directions(cameras: Cameras, centre: Array) -> Array:
    """Return the unit vectors (N, 3) from `centre` to the cameras."""
    offset = cameras.eyes() - centre
    return np.asarray(offset / np.linalg.norm(offset, axis=1, keepdims=True).clip(1e-12))


class _ViewReader:
    """Part embeddings and mask memory of the annotated views, read on further views.

    Parameters
    ----------
    mesh : Mesh
    given : AnnotatedViews
    labelled_rows : (L,) int
        Part rows that the annotation holds.
    normals : (F, 3, 3) float64
        Corner normals for shading.
    config : AppearanceConfig
    """

    def __init__(
        self, mesh: Mesh, given: AnnotatedViews, labelled_rows: Array, normals: Array, config: AppearanceConfig
    ) -> None:
        import torch

        from slimecore.backbones import load_model
        from slimecore.imaging.resize import resize_soft
        from slimecore.learning.probe import learn_parts
        from slimecore.memory.mask_memory import MaskMemory
        from slimecore.segmentation.readout import encode_image, project_embeddings
        from slimecore.types import Annotation, Parts

        self._side, self._grid_upsampling = _NETWORK_SIDE_PIXELS, MemoryConfig().grid_upsampling
        self._backbone = load_model(config.model, config.device, _SEED)
        # Row 0 of the images is the background, for which the mesh has no part. The mesh's row 0 is a part like others.
        names = ("outside", *(f"part {row}" for row in labelled_rows))
        parts = Parts(tuple(range(len(names))), names, ((0, 0, 0),) * len(names))
        network_rows = np.searchsorted(labelled_rows, given.rows.clip(0)) + 1
        rows = np.where(given.face_id < 0, 0, np.where(given.rows < 0, -1, network_rows))
        fragments = fragments_of(given.face_id, mesh.vertices, mesh.faces, given.cameras)
        pictures = shade(fragments, mesh, given.cameras, "auto", normals)
        pairs = [(picture, row) for picture, row in zip(pictures, rows, strict=True) if (row > 0).any()]
        annotations = [Annotation(picture, row, parts) for picture, row in pairs]
        embeddings = learn_parts(self._backbone, annotations, LearnConfig(), short_side=self._side, seed=_SEED)
        self._keys = project_embeddings(self._backbone, embeddings)
        self._memory = MaskMemory(MemoryConfig(recent_frames=0, keys_per_frame=1500), _SEED)
        soft = np.concatenate([np.eye(len(parts)), np.full((1, len(parts)), 1 / len(parts))]).astype(np.float32)
        for picture, row in pairs:  # row -1 is stored as a uniform distribution, so that unlabelled pixels are neutral
            cells = self._grid_features(encode_image(self._backbone, picture, self._side).descriptor, picture)
            mask = resize_soft(np.moveaxis(soft[row], -1, 0), cells.grid)
            self._memory.write(cells, torch.from_numpy(mask).to(cells.device), permanent=True)

    def _grid_features(self, descriptor: Any, picture: Array) -> Any:
        from slimecore.memory.grid_features import GridFeatures

        return GridFeatures.of(descriptor, picture, self._grid_upsampling)

    def __call__(self, picture: Array) -> tuple[Array, Array]:
        """Return part probabilities (L, h, w) of an image (h, w, 3): by the part embeddings, and by the memory."""
        from slimecore.imaging.resize import resize_soft
        from slimecore.segmentation.readout import encode_image, read_out

        features = encode_image(self._backbone, picture, self._side)
        cells = self._grid_features(features.descriptor, picture)
        readout = read_out(features, self._keys)[0].cpu().numpy()
        memory_reading = self._memory.read(cells).T.unflatten(1, cells.grid).cpu().numpy()
        size = (picture.shape[0], picture.shape[1])
        soft = [resize_soft(maps, size)[1:] for maps in (readout, memory_reading)]
        return soft[0] / soft[0].sum(0).clip(1e-6), soft[1] / soft[1].sum(0).clip(1e-6)
