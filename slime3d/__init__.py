"""Meshes: annotate one view, label every face."""

from __future__ import annotations

from typing import Any

__all__ = ["Mesh", "load_mesh"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'slime3d' has no attribute {name!r}")
    from slime3d import mesh

    return getattr(mesh, name)
