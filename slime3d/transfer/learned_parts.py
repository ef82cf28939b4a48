"""Label a mesh by part embeddings learned on images, read on rendered views and lifted to the faces."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from slime3d.io.mesh import Mesh
from slime3d.labelling.random_walk import FaceLabels, random_walk_labels
from slime3d.labelling.votes import FaceVotes, cast_votes
from slime3d.rendering.cameras import Cameras
from slime3d.rendering.renderers import Renderer
from slime3d.rendering.shading import lighting_normals, shade
from slime3d.transfer.labels import TransferConfig
from slimecore.array_types import Array
from slimecore.types import Parts

__all__ = ["ViewLabeller"]

_VIEWS_PER_BATCH = 4  # views in memory at the same time


@dataclass(frozen=True, slots=True, eq=False)
class ViewLabeller:
    """Label meshes by learned part embeddings.

    Parameters
    ----------
    segmenter : PartSegmenter
    rest : bool
        Faces may get row 0, the rest. Otherwise, votes for the background of the images are dropped.
    """

    segmenter: Any
    rest: bool

    @classmethod
    def load(cls, path: Path, *, device: str, seed: int, rest: bool) -> ViewLabeller:
        """Read a ``parts.safetensors`` and the model it was learned with.

        Parameters
        ----------
        path : Path
        device : str
            ``auto``, ``cpu``, ``cuda`` or ``mps``.
        seed : int
        rest : bool
            See the class.

        Returns
        -------
        ViewLabeller

        Raises
        ------
        SlimeError
            The file or model is not usable.
        """
        from slimecore.backbones import load_model
        from slimecore.io.embeddings import load_embeddings
        from slimecore.pipelines.config import ImageConfig
        from slimecore.pipelines.segment import model_of
        from slimecore.segmentation.part_segmenter import PartSegmenter

        config = ImageConfig()
        embeddings = load_embeddings(path)
        backbone = load_model(model_of(embeddings, config.model, None), device, seed)
        return cls(PartSegmenter(backbone, embeddings, config.segment, str(path)), rest)

    @property
    def parts(self) -> Parts:
        """Return the parts of the file."""
        parts: Parts = self.segmenter.parts
        return parts

    def __call__(
        self, mesh: Mesh, cameras: Cameras, renderer: Renderer, config: TransferConfig
    ) -> tuple[FaceLabels, Array]:
        """Label a mesh on views of the given cameras.

        Parameters
        ----------
        mesh : Mesh
        cameras : Cameras
        renderer : Renderer
        config : TransferConfig
            Weight of the votes and settings of the random walk.

        Returns
        -------
        labels : FaceLabels
        seen : (F,) bool
            Faces visible in a view.
        """
        from slimecore.imaging.resize import resize_soft

        normals = lighting_normals(mesh)
        votes = np.zeros((len(mesh.faces), len(self.parts)))
        seen = np.zeros(len(mesh.faces), bool)
        for first in range(0, len(cameras), _VIEWS_PER_BATCH):
            batch = cameras[first : first + _VIEWS_PER_BATCH]
            fragments = renderer.rasterize(mesh.vertices, mesh.faces, batch)
            pictures = shade(fragments, mesh, batch, "auto", normals)
            soft = np.stack([resize_soft(s.scores.values, batch.size) for s in self.segmenter.segment(list(pictures))])
            votes += cast_votes(fragments.face_id, soft, len(mesh.faces))
            seen[fragments.face_id[fragments.face_id >= 0]] = True
        if not self.rest:
            votes[:, 0] = 0
        total = votes.sum(1, keepdims=True)
        votes = np.divide(votes, total, out=np.zeros_like(votes), where=total > 1e-9)

        return random_walk_labels(
            mesh, [FaceVotes(votes * max(config.weight, 1e-3), is_fixed=False)], config.walk
        ), seen
