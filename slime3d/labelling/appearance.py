"""Appearance as evidence within one mesh: what the annotated views look like, read on views of the other sides.

Parts are learned on pictures of the annotated views, and a memory keeps those views for good; both are read on views
all around, and every pixel votes for the face it shows. What is outside the mesh is known exactly. How far all this is
believed is measured on the annotated faces themselves, as the other views show them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
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

_FLOOR = 0.05  # equal chances mixed into a face's readings, so that neither rules a part out
_SAME_VIEW = 0.99  # cosine between eyes: such a view shows nothing new, and would vouch for itself


@dataclass(frozen=True, slots=True)
class AppearanceConfig:
    """How far the looks of the views are believed.

    Parameters
    ----------
    weight : float
        Weight of its votes against the bonds to the neighbours, which are at most 1; 0 switches it off.
    views : int
        Views around the mesh that are read.
    size : int
        Side of the pictures the network sees, pixels.
    device : str
        ``auto``, ``cpu``, ``cuda`` or ``mps``.
    seed : int
        Seeds learning and what the memory keeps.
    model : ModelSpec
    """

    weight: float = 0.03
    views: int = 12
    size: int = 256
    device: str = "auto"
    seed: int = 0
    model: ModelSpec = field(default_factory=ModelSpec)

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1e3:
            raise ConfigError(f"appearance.weight must be 0 .. 1000, got {self.weight}")
        if not (1 <= self.views <= 1000 and 64 <= self.size <= 2048):
            raise ConfigError(f"appearance needs 1 .. 1000 views of 64 .. 2048 pixels, got {self.views} of {self.size}")
        if not 0 <= self.seed < 2**63:
            raise ConfigError(f"appearance.seed must not be negative, got {self.seed}")


@dataclass(frozen=True, slots=True, eq=False)
class AnnotatedViews:
    """Annotated views of a mesh, and the means to look at it from elsewhere.

    Parameters
    ----------
    face_id : (A, h, w) int32
        The face every pixel shows, -1 = none.
    rows : (A, h, w) int
        Part row, -1 = says nothing.
    cameras : Cameras
        Those of the views.
    renderer : Renderer
    up : str
    """

    face_id: Array
    rows: Array
    cameras: Cameras
    renderer: Renderer
    up: str = "y"


def appearance_votes(
    mesh: Mesh, votes: Array, given: AnnotatedViews, doubt: Array, config: AppearanceConfig
) -> FaceVotes:
    """Votes (F, P) for faces that certain `votes` (F, P) leave open, by what the parts look like.

    Parameters
    ----------
    mesh : Mesh
    votes : (F, P) float64
        Of the annotation.
    given : AnnotatedViews
    doubt : (F,) float
        How far every face is open to persuasion, 0..1: the shape knows better where it knows.
    config : AppearanceConfig

    Raises
    ------
    SlimeError
        A model or device that does not do.
    """
    nothing = FaceVotes(np.zeros_like(votes), is_fixed=False)
    if config.weight == 0 or len(np.unique(given.rows[(given.face_id >= 0) & (given.rows >= 0)])) < 2:
        return nothing
    chance = read_views(mesh, given, votes.shape[1], config)
    trust = calibrate(chance, votes, mesh.areas())
    open_to = np.where(votes.sum(1) > 0, 0, doubt)
    return FaceVotes(config.weight * trust * open_to[:, None] * chance, is_fixed=False) if trust else nothing


def calibrate(chance: Array, votes: Array, areas: Array) -> float:
    """0..1: how well read parts (F, P) are those that `votes` (F, P) know for certain.

    The mean IoU of the annotated parts by area, of which one half counts for nothing: calling everything by the name of
    the largest part gives at most that.
    """
    asked = (votes.sum(1) > 0) & (chance.sum(1) > 0)
    truth, said = votes[asked].argmax(1), chance[asked].argmax(1)
    parts = np.flatnonzero(votes.sum(0) > 0)
    if not asked.any():
        return 0.0
    both = np.zeros((votes.shape[1], votes.shape[1]))
    np.add.at(both, (truth, said), areas[asked])
    union = both.sum(0) + both.sum(1) - both.diagonal()
    iou = both.diagonal()[parts] / union[parts].clip(1e-30)
    return max(0.0, 2 * float(iou.mean()) - 1)


def read_views(mesh: Mesh, given: AnnotatedViews, parts: int, config: AppearanceConfig) -> Array:
    """Chances (F, P) of the parts of every face that a view other than the annotated ones shows; else zeros."""
    used = np.unique(given.rows[(given.face_id >= 0) & (given.rows >= 0)])
    normals = lighting_normals(mesh)
    read = _Reader(mesh, given, used, normals, config)
    learned, recalled = (np.zeros((len(mesh.faces), len(used))) for _ in range(2))
    for face_id, picture in _other_views(mesh, given, normals, config):
        for votes, soft in zip((learned, recalled), read(picture), strict=True):
            votes += cast_votes(face_id, soft[None], len(mesh.faces))
    out = np.zeros((len(mesh.faces), parts))
    out[:, used] = _combined(learned, recalled)
    return out


def _combined(learned: Array, recalled: Array) -> Array:
    """Product of two experts' mean votes, summing to 1; zeros for faces without any."""
    total = np.ones_like(learned)
    for votes in (learned, recalled):
        total *= (1 - _FLOOR) * votes / votes.sum(1, keepdims=True).clip(1e-12) + _FLOOR / votes.shape[1]
    total[learned.sum(1) + recalled.sum(1) <= 1e-12] = 0
    return np.asarray(total / total.sum(1, keepdims=True).clip(1e-30))


def _other_views(
    mesh: Mesh, given: AnnotatedViews, normals: Array, config: AppearanceConfig
) -> Iterator[tuple[Array, Array]]:
    """Face ids (1, h, w) and picture (h, w, 3) of views all around but those annotated."""
    around = orbit_cameras(mesh.used(), config.views, config.size, given.up)
    middle = (mesh.used().min(0) + mesh.used().max(0)) / 2
    new, old = (_directions(cameras, middle) for cameras in (around, given.cameras))
    for view in np.flatnonzero((new @ old.T).max(1) < _SAME_VIEW):
        camera = around[view : view + 1]
        fragments = given.renderer.rasterize(mesh.vertices, mesh.faces, camera)
        yield fragments.face_id, shade(fragments, mesh, camera, "auto", normals)[0]


def _directions(cameras: Cameras, middle: Array) -> Array:
    away = cameras.eyes() - middle
    return np.asarray(away / np.linalg.norm(away, axis=1, keepdims=True).clip(1e-12))


class _Reader:
    """What was learned of the annotated views, and what is remembered of them."""

    def __init__(
        self, mesh: Mesh, given: AnnotatedViews, used: Array, normals: Array, config: AppearanceConfig
    ) -> None:
        import torch

        from slimecore.backbones import load_model
        from slimecore.imaging.resize import resize_soft
        from slimecore.learning.probe import learn_parts
        from slimecore.memory.mask_memory import MaskMemory
        from slimecore.segmentation.readout import encode_image, project_embeddings
        from slimecore.types import Annotation, Parts

        self._side, self._detail = config.size, MemoryConfig().grid_upsampling
        self._backbone = load_model(config.model, config.device, config.seed)
        # Row 0 of pictures is what is outside, which the mesh has no part for; its own rest is a part like others.
        names = ("outside", *(f"part {row}" for row in used))
        parts = Parts(tuple(range(len(names))), names, ((0, 0, 0),) * len(names))
        own = np.searchsorted(used, given.rows.clip(0)) + 1
        rows = np.where(given.face_id < 0, 0, np.where(given.rows < 0, -1, own))
        fragments = fragments_of(given.face_id, mesh.vertices, mesh.faces, given.cameras)
        pictures = shade(fragments, mesh, given.cameras, "auto", normals)
        pairs = [(picture, row) for picture, row in zip(pictures, rows, strict=True) if (row > 0).any()]
        annotations = [Annotation(picture, row, parts) for picture, row in pairs]
        embeddings = learn_parts(self._backbone, annotations, LearnConfig(), short_side=config.size, seed=config.seed)
        self._keys = project_embeddings(self._backbone, embeddings)
        self._memory = MaskMemory(MemoryConfig(recent_frames=0, keys_per_frame=1500), config.seed)
        soft = np.concatenate([np.eye(len(parts)), np.full((1, len(parts)), 1 / len(parts))]).astype(np.float32)
        for picture, row in pairs:  # what is not annotated, row -1, remembers nothing: all parts alike
            places = self._places(encode_image(self._backbone, picture, self._side).descriptor, picture)
            mask = resize_soft(np.moveaxis(soft[row], -1, 0), places.grid)
            self._memory.write(places, torch.from_numpy(mask).to(places.device), permanent=True)

    def _places(self, descriptor: Any, picture: Array) -> Any:
        from slimecore.memory.grid_features import GridFeatures

        return GridFeatures.of(descriptor, picture, self._detail)

    def __call__(self, picture: Array) -> tuple[Array, Array]:
        """Shares (P, h, w) of the parts at every pixel: as learned, and as remembered."""
        from slimecore.imaging.resize import resize_soft
        from slimecore.segmentation.readout import encode_image, read_out

        features = encode_image(self._backbone, picture, self._side)
        places = self._places(features.descriptor, picture)
        learned = read_out(features, self._keys)[0].cpu().numpy()
        recalled = self._memory.read(places).T.unflatten(1, places.grid).cpu().numpy()
        size = (picture.shape[0], picture.shape[1])
        soft = [resize_soft(maps, size)[1:] for maps in (learned, recalled)]
        return soft[0] / soft[0].sum(0).clip(1e-6), soft[1] / soft[1].sum(0).clip(1e-6)
