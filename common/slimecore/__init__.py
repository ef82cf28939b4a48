"""Slime's core: learn part embeddings from one annotated picture, read them out of a diffusion UNet's attention.

Heavy modules are imported when first used, so that command lines answer at once.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Annotation": "types",
    "ArtifactError": "errors",
    "Backbone": "backbones",
    "ConfigError": "errors",
    "FaithfulConfig": "faithful_config",
    "Features": "attention",
    "Frame": "types",
    "ImageConfig": "image_config",
    "InputError": "errors",
    "LabelMap": "types",
    "LearnConfig": "learn_config",
    "MaskMemory": "memory",
    "MemoryConfig": "memory_config",
    "ModelError": "errors",
    "ModelSpec": "backbones",
    "OutputError": "errors",
    "PartEmbeddings": "types",
    "PartScores": "types",
    "PartSegmenter": "part_segmenter",
    "Parts": "types",
    "SegmentConfig": "segment_config",
    "Segmentation": "part_segmenter",
    "SlimeError": "errors",
    "UnknownPlugin": "errors",
    "annotate": "masks",
    "boundary_f": "metrics",
    "evaluate_folders": "evaluation",
    "export_tokens": "textual_inversion",
    "learn": "learn_any",
    "learn_faithful": "faithful",
    "learn_parts": "learn_probe",
    "load_embeddings": "artifacts",
    "load_model": "backbones",
    "read_mask": "masks",
    "region_j": "metrics",
    "save_embeddings": "artifacts",
    "segment_image": "segment",
    "was_attention": "was",
    "write_mask": "masks",
}

__all__ = sorted(_HOME)  # the table above is the one list of public names


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'slimecore' has no attribute {name!r}")
    return getattr(importlib.import_module(f"slimecore.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
