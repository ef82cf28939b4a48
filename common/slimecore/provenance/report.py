"""Collect the entries of every ``report.json``: versions, model, parts, memory."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

from slimecore.types import Parts

if TYPE_CHECKING:
    from slimecore.backbones import Backbone

__all__ = ["model_entry", "parts_entry", "peak_memory_mb", "versions"]


def versions(*more: str) -> dict[str, str]:
    """Return the installed versions of the packages that affect results, and of the packages `more`."""
    installed = {}
    for package in ("slime-toolkit", "torch", "diffusers", "numpy", "opencv-python-headless", *more):
        try:
            installed[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            installed[package] = "not installed"
    return installed


def model_entry(backbone: Backbone) -> dict[str, str]:
    """Return the name, revision and device of a model."""
    return {"name": backbone.name, "revision": backbone.revision, "device": str(backbone.device)}


def parts_entry(parts: Parts) -> list[dict[str, Any]]:
    """Return the value, name and colour of every part."""
    rows = zip(parts.values, parts.names, parts.colors, strict=True)
    return [{"value": value, "name": name, "color": list(color)} for value, name, color in rows]


def peak_memory_mb() -> float | None:
    """Return the peak resident memory of this process in MB, or None where it is unknown (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(float(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)), 1)
