"""Video: one annotated frame in, every frame segmented out."""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "DavisRequest": "davis_run",
    "FrameResult": "result",
    "MaskRef": "references",
    "Protocol": "evaluation.protocol",
    "RunConfig": "config",
    "RunRequest": "request",
    "Segmenter": "segmenter",
    "evaluate": "evaluation.score",
    "open_clip": "io",
    "open_davis": "evaluation.dataset",
    "open_pairs": "evaluation.dataset",
    "preset": "config",
    "run": "pipeline",
    "run_davis": "davis_run",
}

__all__ = sorted(_HOME)  # the table above is the one list of public names


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'slimevid' has no attribute {name!r}")
    return getattr(importlib.import_module(f"slimevid.{_HOME[name]}"), name)
