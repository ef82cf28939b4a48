"""What every ``report.json`` says: versions, model, parts, memory."""

from __future__ import annotations

import sys
from importlib import metadata
from typing import TYPE_CHECKING, Any

from slimecore.types import Parts

if TYPE_CHECKING:
    from slimecore.backbones import Backbone

__all__ = ["model_entry", "parts_entry", "peak_memory_mb", "versions"]


def versions(*more: str) -> dict[str, str]:
    """Installed versions of the packages that decide results, and of those named."""
    found = {}
    for package in ("slime-toolkit", "torch", "diffusers", "numpy", "opencv-python-headless", *more):
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found


def model_entry(backbone: Backbone) -> dict[str, str]:
    """Name, revision and device of a model."""
    return {"name": backbone.name, "revision": backbone.revision, "device": str(backbone.device)}


def parts_entry(parts: Parts) -> list[dict[str, Any]]:
    """Value, name and colour of every part."""
    rows = zip(parts.values, parts.names, parts.colors, strict=True)
    return [{"value": value, "name": name, "color": list(color)} for value, name, color in rows]


def peak_memory_mb() -> float | None:
    """Largest resident size of this process so far, in MB; None where the system does not say (Windows)."""
    try:
        import resource
    except ImportError:
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(float(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)), 1)
