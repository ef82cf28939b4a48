"""Learn part embeddings from annotated images on cached features (probe mode, docs/adr/0005).

The network encodes every view once. Then only the tokens are optimised, like the new words of textual inversion (Gal et
al., ICLR 2023). The features do not change, so SLiMe's diffusion loss is not needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from slimecore.annotations import with_shared_parts
from slimecore.attention.cross_attention import (
    Features,
    part_probabilities,
    stacked_queries,
    stacked_token_keys,
)
from slimecore.attention.query_features import extra_query_features
from slimecore.backbones import Backbone
from slimecore.config import flat, to_dict
from slimecore.imaging.resize import fit_short_side
from slimecore.imaging.tensors import to_tensor
from slimecore.learning.augmentation import augmented_views, one_hot_area
from slimecore.learning.losses import class_weights, cross_entropy
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.runtime.device import generator, threads_for
from slimecore.runtime.progress import Progress
from slimecore.types import Annotation, PartEmbeddings

__all__ = ["learn_parts"]

_MAX_CELLS = 65_536  # of all views together, which bounds the memory of wide networks
_LAST_LR_FRACTION = 0.05


def learn_parts(
    backbone: Backbone,
    annotations: Sequence[Annotation],
    config: LearnConfig | None = None,
    *,
    short_side: int = 384,
    enlarge: bool = False,
    seed: int = 0,
    progress: Progress | None = None,
) -> PartEmbeddings:
    """Learn a set of tokens for each part of the annotations.

    Parameters
    ----------
    backbone : Backbone
    annotations : sequence of Annotation
        At least 1. An annotation may contain a subset of the parts. A value means the same part in all of them.
    config : LearnConfig, optional
    short_side : int
        Short side of the network input in pixels.
    enlarge : bool
        Enlarge smaller pictures to it. The embeddings record this, so that segmentation does the same.
    seed : int
        Seed of views, sampling and initial tokens. Equal seeds give bit-identical embeddings on CPU.
    progress : callable(step, steps, loss), optional
        Called after every step.

    Returns
    -------
    PartEmbeddings

    Raises
    ------
    InputError
        The list of annotations is empty, or a value has different names.
    """
    settings = config or LearnConfig()
    parts, annotations = with_shared_parts(annotations)
    views = _encoded_views(backbone, annotations, settings.views, short_side, seed, enlarge)
    tokens = _initial_tokens(backbone, len(parts) * settings.tokens, seed)
    layer_logits = torch.zeros(backbone.cross_layers, device=backbone.device)
    width = extra_query_features(views[0].features, settings.descriptor_scale, settings.position_scale).shape[1]
    columns = torch.zeros(len(tokens), width, device=backbone.device)
    _optimise(backbone, views, (tokens, layer_logits, columns), len(parts), settings, generator(seed), progress)
    return PartEmbeddings(
        parts,
        tokens.detach().reshape(len(parts), settings.tokens, -1).cpu().numpy(),
        _layer_weights(layer_logits).detach().cpu().numpy(),
        backbone.name,
        backbone.revision,
        {**flat(to_dict(settings)), "mode": "probe", "short_side": short_side, "seed": seed}
        | ({"enlarge": True} if enlarge else {}),
        columns=columns.detach().unflatten(0, (len(parts), -1)).cpu().numpy() if width else None,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    """Features and targets of all V views of an annotation."""

    features: Features
    targets: Tensor  # (V, P, h, w) area fractions
    valid: Tensor  # (V, 1, h, w) labelled fraction of each cell


def _encoded_views(
    backbone: Backbone,
    annotations: Sequence[Annotation],
    config: ViewConfig,
    short_side: int,
    seed: int,
    enlarge: bool = False,
) -> list[_Views]:
    rng = np.random.default_rng(seed)
    sets = []
    for annotation in annotations:
        size = fit_short_side(annotation.rows.shape, short_side, backbone.multiple, enlarge=enlarge)
        images, masks = augmented_views(annotation, size, config, rng)
        # Encode a single image per pass, because a pass needs far more memory than the features it returns.
        features = Features.cat([backbone.encode(to_tensor(rgb[None], backbone.device)) for rgb in images])
        areas = [one_hot_area(rows, annotation.parts, features.grid) for rows in masks]
        targets = torch.from_numpy(np.stack([fractions for fractions, _ in areas])).to(backbone.device)
        valid = torch.from_numpy(np.stack([labelled for _, labelled in areas]))[:, None].to(backbone.device)
        sets.append(_Views(features, targets, valid))
    return sets


@dataclass(frozen=True, slots=True, eq=False)
class _Samples:
    """Training samples: N grid cells of all views."""

    queries: Tensor  # (N, Q + C) cross-attention queries and extra query features
    targets: Tensor  # (N, P) area fractions
    valid: Tensor  # (N,) labelled fraction of each cell


def _sample_pixels(sets: list[_Views], config: LearnConfig, random: torch.Generator) -> _Samples:
    """Collect the grid cells of all views, or a random sample of about `_MAX_CELLS` cells if they are more."""
    total = sum(views.valid.numel() for views in sets)
    samples = []
    for views in sets:
        extra = (
            extra_query_features(views.features, config.descriptor_scale, config.position_scale)
            .flatten(2)
            .transpose(1, 2)
        )
        queries = torch.cat([stacked_queries(views.features), extra], 2).flatten(0, 1)
        targets = views.targets.permute(0, 2, 3, 1).flatten(0, 2)
        valid = views.valid.flatten()
        if total > _MAX_CELLS:
            kept = torch.randperm(len(queries), generator=random)[: len(queries) * _MAX_CELLS // total]
            queries, targets, valid = (tensor[kept.to(tensor.device)] for tensor in (queries, targets, valid))
        samples.append((queries, targets, valid))
    return _Samples(*(torch.cat(tensors) for tensors in zip(*samples, strict=True)))


def _initial_tokens(backbone: Backbone, count: int, seed: int) -> Tensor:
    """Draw tokens (count, dim) from a Gaussian around the neutral token, with that token's standard deviation."""
    null = backbone.null_token()
    noise = torch.randn(count, backbone.token_dim, generator=generator(seed)).to(null)
    deviation = null.std() if backbone.token_dim > 1 else null.abs().mean()
    return (null + noise * deviation).requires_grad_(True)


def _layer_weights(layer_logits: Tensor) -> Tensor:
    return layer_logits.softmax(0)


def _optimise(
    backbone: Backbone,
    sets: list[_Views],
    learned: tuple[Tensor, Tensor, Tensor],
    parts: int,
    config: LearnConfig,
    random: torch.Generator,
    progress: Progress | None,
) -> None:
    """Minimise the cross-entropy over the tokens, layer logits and extra columns `learned`, in place."""
    tokens, layer_logits, columns = (tensor.requires_grad_(True) for tensor in learned)
    start = tokens.detach().clone()
    optimiser = torch.optim.Adam([tokens, layer_logits, *([columns] if columns.numel() else [])], lr=config.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(
        optimiser, config.steps, eta_min=_LAST_LR_FRACTION * config.lr
    )
    samples = _sample_pixels(sets, config, random)
    maps = [samples.targets.T[None, :, None], samples.valid[None, None, None]]
    weights = class_weights(maps[0], maps[1], config.class_balance)
    decay = config.weight_decay / len(sets)
    cells_per_step = min(config.batch or len(samples.queries), len(samples.queries))
    with threads_for(cells_per_step * samples.queries.shape[1] * len(tokens)):
        for step in range(config.steps):
            keys = backbone.token_keys(tokens)
            token_columns = torch.cat([stacked_token_keys(keys, _layer_weights(layer_logits)), columns], 1)
            queries, (targets, valid) = samples.queries, maps
            if 0 < config.batch < len(queries):
                index = torch.randint(len(queries), (config.batch,), generator=random).to(queries.device)
                queries, targets, valid = queries[index], targets[..., index], valid[..., index]
            probabilities = part_probabilities((queries @ token_columns.T).T[None, :, None], parts)
            loss = cross_entropy(probabilities, targets, valid, weights)
            loss = loss + decay * ((tokens - start).square().sum() + columns.square().sum())
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if progress is not None:
                progress(step + 1, config.steps, float(loss.detach()))
