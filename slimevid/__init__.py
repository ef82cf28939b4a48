"""Video segmentation: annotate a single frame, get a mask of every frame.

The public names are imported on first use, so ``import slimevid`` stays fast.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Clip": "io",
    "CueInputs": "cues",
    "DavisRequest": "evaluation.davis_run",
    "FrameResult": "frame.labels",
    "FusionConfig": "config",
    "MaskRef": "references.mask_files",
    "Protocol": "evaluation.protocol",
    "RunConfig": "config",
    "RunRequest": "run.request",
    "Segmenter": "session.segmenter",
    "StepResult": "propagators",
    "Traits": "propagators",
    "evaluate": "evaluation.scoring",
    "open_clip": "io",
    "open_davis": "evaluation.dataset",
    "open_pairs": "evaluation.dataset",
    "preset": "config",
    "run_clip": "run.pipeline",
    "run_davis": "evaluation.davis_run",
}

__all__ = sorted(_HOME)  # the table above is the only list of public names


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'slimevid' has no attribute {name!r}")
    return getattr(importlib.import_module(f"slimevid.{_HOME[name]}"), name)
