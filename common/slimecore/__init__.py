"""Core of Slime: learn part embeddings from an annotated picture, segment pictures by a diffusion UNet's attention.

Modules are imported on first use, so that command lines start fast.
"""

from __future__ import annotations

import importlib
from typing import Any

_HOME = {
    "Annotation": "types",
    "ArtifactError": "errors",
    "Backbone": "backbones",
    "ConfigError": "errors",
    "FaithfulConfig": "learning.faithful_config",
    "Features": "attention.cross_attention",
    "Frame": "types",
    "ImageConfig": "pipelines.config",
    "InputError": "errors",
    "LabelMap": "types",
    "LearnConfig": "learning.probe_config",
    "MaskMemory": "memory.mask_memory",
    "MemoryConfig": "memory.config",
    "ModelError": "errors",
    "ModelSpec": "backbones",
    "OutputError": "errors",
    "PartEmbeddings": "types",
    "PartScores": "types",
    "PartSegmenter": "segmentation.part_segmenter",
    "Parts": "types",
    "SegmentConfig": "segmentation.config",
    "Segmentation": "segmentation.part_segmenter",
    "SlimeError": "errors",
    "UnknownPlugin": "errors",
    "annotate": "io.masks",
    "boundary_f": "metrics.davis",
    "evaluate_folders": "metrics.part_iou",
    "export_tokens": "io.textual_inversion",
    "learn": "pipelines.learn_parts",
    "learn_faithful": "learning.faithful",
    "learn_parts": "learning.probe",
    "load_embeddings": "io.embeddings",
    "load_model": "backbones",
    "read_mask": "io.masks",
    "region_j": "metrics.davis",
    "save_embeddings": "io.embeddings",
    "segment_image": "segmentation.readout",
    "was_attention": "attention.was",
    "write_mask": "io.masks",
}

__all__ = sorted(_HOME)  # _HOME is the only list of public names


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'slimecore' has no attribute {name!r}")
    return getattr(importlib.import_module(f"slimecore.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return __all__
