"""Part labels for the faces of meshes, from masks of rendered views."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Cameras": "rendering.cameras",
    "Donor": "transfer.labels",
    "Evidence": "labelling.votes",
    "FaceLabels": "labelling.random_walk",
    "Kin": "transfer.labels",
    "Mesh": "io.mesh",
    "Reference": "labelling.annotated_views",
    "RunConfig": "config",
    "TransferConfig": "transfer.labels",
    "WalkConfig": "labelling.random_walk",
    "build_renderer": "rendering.renderers",
    "cast_votes": "labelling.votes",
    "evaluate": "evaluation",
    "frame_views": "rendering.cameras",
    "glb_bytes": "output.glb",
    "label_mesh": "run.pipeline",
    "load_mesh": "io.mesh",
    "read_cameras": "rendering.cameras",
    "run": "run.pipeline",
    "run_transfer": "transfer.run",
    "transfer_labels": "transfer.labels",
    "viewer_page": "output.viewer",
}
__all__ = [
    "Cameras",
    "Donor",
    "Evidence",
    "FaceLabels",
    "Kin",
    "Mesh",
    "Reference",
    "RunConfig",
    "TransferConfig",
    "WalkConfig",
    "build_renderer",
    "cast_votes",
    "evaluate",
    "frame_views",
    "glb_bytes",
    "label_mesh",
    "load_mesh",
    "read_cameras",
    "run",
    "run_transfer",
    "transfer_labels",
    "viewer_page",
]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'slime3d' has no attribute {name!r}")
    return getattr(import_module(f"slime3d.{_HOMES[name]}"), name)
