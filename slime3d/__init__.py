"""Meshes: annotate one view, label every face."""

from __future__ import annotations

from importlib import import_module
from typing import Any

_HOMES = {
    "Cameras": "views",
    "Donor": "transfer",
    "Evidence": "evidence",
    "FaceLabels": "walk",
    "Kin": "transfer",
    "Mesh": "mesh",
    "Reference": "references",
    "RunConfig": "config",
    "TransferConfig": "transfer",
    "WalkConfig": "walk",
    "build_renderer": "renderers",
    "cast_votes": "evidence",
    "evaluate": "evaluation",
    "frame_views": "views",
    "glb_bytes": "glb",
    "label_mesh": "pipeline",
    "load_mesh": "mesh",
    "read_cameras": "views",
    "run": "pipeline",
    "run_transfer": "transfer_run",
    "transfer_labels": "transfer",
    "viewer_page": "viewer",
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
