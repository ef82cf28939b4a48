"""Parts learned on pictures, read on rendered views of a mesh and lifted to its faces."""

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

_AT_ONCE = 4  # views in memory


@dataclass(frozen=True, slots=True, eq=False)
class ViewLabeller:
    """Label meshes by what learned parts look like.

    Parameters
    ----------
    segmenter : PartSegmenter
    rest : bool
        A face may be of row 0, the rest. Otherwise what the pictures call background is no option on the mesh.
    """

    segmenter: Any
    rest: bool

    @classmethod
    def load(cls, path: Path, *, device: str, seed: int, rest: bool) -> ViewLabeller:
        """Read a ``parts.safetensors`` and the model it was learned with.

        Raises
        ------
        SlimeError
            A file or model that does not do.
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
        """Parts of the file."""
        parts: Parts = self.segmenter.parts
        return parts

    def __call__(
        self, mesh: Mesh, cameras: Cameras, renderer: Renderer, config: TransferConfig
    ) -> tuple[FaceLabels, Array]:
        """Labels, and the faces (F,) some view shows."""
        from slimecore.imaging.resize import resize_soft

        normals = lighting_normals(mesh)
        votes = np.zeros((len(mesh.faces), len(self.parts)))
        seen = np.zeros(len(mesh.faces), bool)
        for first in range(0, len(cameras), _AT_ONCE):
            few = cameras[first : first + _AT_ONCE]
            fragments = renderer.rasterize(mesh.vertices, mesh.faces, few)
            pictures = shade(fragments, mesh, few, "auto", normals)
            soft = np.stack([resize_soft(s.scores.values, few.size) for s in self.segmenter.segment(list(pictures))])
            votes += cast_votes(fragments.face_id, soft, len(mesh.faces))
            seen[fragments.face_id[fragments.face_id >= 0]] = True
        if not self.rest:
            votes[:, 0] = 0
        total = votes.sum(1, keepdims=True)
        votes = np.divide(votes, total, out=np.zeros_like(votes), where=total > 1e-9)

        return random_walk_labels(
            mesh, [FaceVotes(votes * max(config.weight, 1e-3), is_fixed=False)], config.walk
        ), seen
