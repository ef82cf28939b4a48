"""Read-out of learned part embeddings on cached features (probe mode): cross-attention, then WAS."""

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
    """Part embeddings projected to the keys of a backbone, for repeated read-outs.

    Parameters
    ----------
    keys : tuple of (heads, parts * tokens, d) float tensors
        Keys of each cross-attention layer.
    layer_weights : (layers,) float tensor
        Summing to 1.
    parts : int
        Number of parts, background included.
    columns : (parts * tokens, C) float tensor or None
        Learned vectors for the features of :func:`slimecore.attention.query_features.extra_query_features`.
    descriptor, position : float
        Scales of these features.
    """

    keys: tuple[Tensor, ...]
    layer_weights: Tensor
    parts: int
    columns: Tensor | None = None
    descriptor: float = 0.0
    position: float = 0.0


def project_embeddings(backbone: Backbone, embeddings: PartEmbeddings, source: str = "part embeddings") -> PartKeys:
    """Project part embeddings to keys.

    Parameters
    ----------
    backbone : Backbone
    embeddings : PartEmbeddings
        Learned in probe mode.
    source : str
        Name of the embeddings in error messages.

    Returns
    -------
    PartKeys

    Raises
    ------
    ArtifactError
        The embeddings were learned with another model, or in faithful mode.
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
    settings = embeddings.settings  # files of version 0.1 hold the names without "_scale"
    descriptor, position = (
        float(settings.get(f"{name}_scale", settings.get(name)) or 0) for name in ("descriptor", "position")
    )
    return PartKeys(keys, weights, len(embeddings.parts), columns, descriptor, position)


@torch.no_grad()
def part_evidence(features: Features, keys: PartKeys, windows: Sequence[tuple[float, ...]] = (FULL_IMAGE,)) -> Tensor:
    """Compute the cross-attention evidence F of images or crops.

    Parameters
    ----------
    features : Features
    keys : PartKeys
    windows : sequence of (top, bottom, left, right)
        Crop of its image that each item of the batch covers, as fractions of the sides. A single crop holds for all.

    Returns
    -------
    (B, parts, h, w) float32 tensor on ``features.grid``
        Probabilities summing to 1 over parts.

    Raises
    ------
    ArtifactError
        The learned vectors do not fit the scales in the settings.
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
    """Compute the WAS maps of the evidence F, rescaled to the range of F and normalised.

    Returns
    -------
    (B, parts, h, w) float32 tensor
        Probabilities summing to 1 over parts.
    """
    evidence = part_evidence(features, keys)
    maps = rescale_to_range(evidence, attend_self(features, evidence))
    return maps / maps.sum(1, keepdim=True).clamp(min=1e-6)


def rescale_to_range(evidence: Tensor, was: Tensor) -> Tensor:
    """Rescale each part's WAS map to the minimum and maximum of its evidence, both (B, P, h, w).

    Averaging by attention lowers the contrast. SLiMe's test code restores it in this way.
    """
    low, high = evidence.amin((2, 3), keepdim=True), evidence.amax((2, 3), keepdim=True)
    was_low, was_high = was.amin((2, 3), keepdim=True), was.amax((2, 3), keepdim=True)
    return (was - was_low) / (was_high - was_low).clamp(min=1e-6) * (high - low) + low


def segment_image(
    backbone: Backbone, embeddings: PartEmbeddings, rgb: npt.NDArray[np.uint8], *, short_side: int = 384
) -> PartScores:
    """Segment an image at its own size into soft labels.

    Parameters
    ----------
    backbone : Backbone
    embeddings : PartEmbeddings
        Learned in probe mode.
    rgb : (h, w, 3) uint8
    short_side : int
        Short side of the network input in pixels.

    Returns
    -------
    PartScores
        Probabilities (P, h, w), summing to 1 over parts.

    Raises
    ------
    ArtifactError
        The embeddings were learned with another model, or in faithful mode.
    """
    keys = project_embeddings(backbone, embeddings)
    enlarge = bool(embeddings.settings.get("enlarge", False))
    soft = read_out(encode_image(backbone, rgb, short_side, enlarge=enlarge), keys)[0].cpu().numpy()
    return PartScores(resize_soft(soft, (rgb.shape[0], rgb.shape[1])), embeddings.parts)


def encode_image(backbone: Backbone, rgb: npt.NDArray[np.uint8], short_side: int, *, enlarge: bool = False) -> Features:
    """Compute the features of an image.

    Parameters
    ----------
    backbone : Backbone
    rgb : (h, w, 3) uint8
    short_side : int
        Short side of the network input in pixels, before rounding to the backbone's multiples.
    enlarge : bool
        Enlarge a smaller picture to it.

    Returns
    -------
    Features
        Of a batch with a single image.
    """
    size = fit_short_side((rgb.shape[0], rgb.shape[1]), short_side, backbone.multiple, enlarge=enlarge)
    return backbone.encode(to_tensor(resize_rgb(rgb, size)[None], backbone.device))
