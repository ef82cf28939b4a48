"""Segment a picture with learned part embeddings: cross-attention, then WAS."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from slimecore.attention.cross_attention import Features, attend_self, cross_logits, part_probabilities
from slimecore.attention.query_features import FULL_IMAGE, column_logits, extra_query_features
from slimecore.backbones import Backbone
from slimecore.errors import ArtifactError
from slimecore.imaging.resize import fit_short_side, resize_rgb, resize_soft
from slimecore.imaging.tensors import to_tensor
from slimecore.io.embeddings import require_model
from slimecore.types import PartEmbeddings, PartScores

__all__ = [
    "PartKeys",
    "encode_image",
    "part_evidence",
    "project_embeddings",
    "read_out",
    "rescale_to_range",
    "segment_image",
]


@dataclass(frozen=True, slots=True, eq=False)
class PartKeys:
    """Part embeddings projected once for one backbone; query many pictures with them.

    Parameters
    ----------
    keys : tuple of (heads, parts * tokens, d) float tensors
    layer_weights : (layers,) float tensor
    parts : int
    columns : (parts * tokens, C) float tensor or None
        Vectors that meet the columns of :func:`slimecore.attention.query_features.query_columns`.
    descriptor, position : float
        Its scales.
    """

    keys: tuple[Tensor, ...]
    layer_weights: Tensor
    parts: int
    columns: Tensor | None = None
    descriptor: float = 0.0
    position: float = 0.0


def project_embeddings(backbone: Backbone, embeddings: PartEmbeddings, source: str = "part embeddings") -> PartKeys:
    """Project embeddings to keys.

    Raises
    ------
    ArtifactError
        They were learned with another model, or in faithful mode.
    """
    require_model(embeddings, backbone.name, backbone.revision, source)
    if embeddings.mode != "probe":
        raise ArtifactError(
            f"{source}: learned in faithful mode, which the UNet must run with; use slime segment, or learn the parts "
            "again with --mode probe"
        )
    vectors = torch.from_numpy(embeddings.vectors.copy()).to(backbone.device)
    with torch.no_grad():
        keys = backbone.token_keys(vectors.flatten(0, 1))
    weights = torch.from_numpy(embeddings.layer_weights.copy()).to(backbone.device)
    if embeddings.columns is None:
        return PartKeys(keys, weights, len(embeddings.parts))
    columns = torch.from_numpy(embeddings.columns.copy()).to(backbone.device).flatten(0, 1)
    settings = embeddings.settings  # files of version 0.1 carry the keys without "_scale"
    descriptor, position = (
        float(settings.get(f"{name}_scale", settings.get(name)) or 0) for name in ("descriptor", "position")
    )
    return PartKeys(keys, weights, len(embeddings.parts), columns, descriptor, position)


@torch.no_grad()
def part_evidence(features: Features, keys: PartKeys, windows: Sequence[tuple[float, ...]] = (FULL_IMAGE,)) -> Tensor:
    """Cross-attention evidence F of pictures, or of crops whose `windows` say which share of theirs they show.

    Returns
    -------
    (B, parts, h, w) float32 tensor on ``features.grid``, summing to 1 over parts
    """
    logits = cross_logits(features, keys.keys, keys.layer_weights, features.grid)
    if keys.columns is not None:
        columns = extra_query_features(features, keys.descriptor, keys.position, windows)
        if columns.shape[1] != keys.columns.shape[1]:
            raise ArtifactError(
                f"the part embeddings hold {keys.columns.shape[1]} columns a token, their settings say "
                f"{columns.shape[1]}; learn the parts again"
            )
        logits = logits + column_logits(columns, keys.columns)
    return part_probabilities(logits, keys.parts)


@torch.no_grad()
def read_out(features: Features, keys: PartKeys) -> Tensor:
    """F accumulated by self-attention, each part stretched back to F's own range.

    Averaging shrinks contrast; SLiMe's test code rescales every part's WAS map to the minimum and maximum its F had.

    Returns
    -------
    (B, parts, h, w) float32, summing to 1 over parts
    """
    evidence = part_evidence(features, keys)
    maps = rescale_to_range(evidence, attend_self(features, evidence))
    return maps / maps.sum(1, keepdim=True).clamp(min=1e-6)


def rescale_to_range(evidence: Tensor, was: Tensor) -> Tensor:
    """WAS maps (B, P, h, w) with the minimum and maximum that each part's evidence had."""
    low, high = evidence.amin((2, 3), keepdim=True), evidence.amax((2, 3), keepdim=True)
    bottom, top = was.amin((2, 3), keepdim=True), was.amax((2, 3), keepdim=True)
    return (was - bottom) / (top - bottom).clamp(min=1e-6) * (high - low) + low


def segment_image(
    backbone: Backbone, embeddings: PartEmbeddings, rgb: npt.NDArray[np.uint8], *, short_side: int = 384
) -> PartScores:
    """Soft labels of a picture at its own size.

    Parameters
    ----------
    backbone : Backbone
    embeddings : PartEmbeddings
    rgb : (h, w, 3) uint8
    short_side : int
        Short side in pixels the network sees.

    Returns
    -------
    PartScores

    Raises
    ------
    ArtifactError
        The embeddings were learned with another model.
    """
    keys = project_embeddings(backbone, embeddings)
    soft = read_out(encode_image(backbone, rgb, short_side), keys)[0].cpu().numpy()
    return PartScores(resize_soft(soft, (rgb.shape[0], rgb.shape[1])), embeddings.parts)


def encode_image(backbone: Backbone, rgb: npt.NDArray[np.uint8], short_side: int) -> Features:
    """Features of one picture (h, w, 3) uint8, brought to `short_side` and the backbone's multiples; batch of one."""
    size = fit_short_side((rgb.shape[0], rgb.shape[1]), short_side, backbone.multiple)
    return backbone.encode(to_tensor(resize_rgb(rgb, size)[None], backbone.device))
