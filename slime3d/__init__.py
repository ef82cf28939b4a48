"""Part labels for the faces of meshes, from masks of rendered views."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOME = {
    "Cameras": "rendering.cameras",
    "FaceLabels": "labelling.random_walk",
    "FaceVotes": "labelling.votes",
    "Mesh": "io.mesh",
    "PreparedMesh": "transfer.labels",
    "Reference": "labelling.annotated_views",
    "RunConfig": "config",
    "SourceMesh": "transfer.labels",
    "TransferConfig": "transfer.labels",
    "WalkConfig": "labelling.random_walk",
    "build_renderer": "rendering.renderers",
    "cast_votes": "labelling.votes",
    "evaluate": "evaluation",
    "glb_bytes": "output.glb",
    "label_mesh": "run.pipeline",
    "load_mesh": "io.mesh",
    "orbit_cameras": "rendering.cameras",
    "read_cameras": "rendering.cameras",
    "run_mesh": "run.pipeline",
    "run_transfer": "transfer.run",
    "transfer_labels": "transfer.labels",
    "viewer_page": "output.viewer",
}

__all__ = sorted(_HOME)  # the table above is the one list of public names


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'slime3d' has no attribute {name!r}")
    return getattr(import_module(f"slime3d.{_HOME[name]}"), name)
