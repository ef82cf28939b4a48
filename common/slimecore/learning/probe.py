"""Learn part embeddings from annotated pictures (probe mode).

The network encodes every view once; afterwards only tokens move. A step costs a few megaflop instead of a pass through
the UNet, and features cannot drift, so no diffusion loss is needed as a tether. See docs/adr/0005.
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
    attend_self,
    cross_logits,
    part_probabilities,
    stacked_queries,
    stacked_token_keys,
)
from slimecore.attention.query_features import column_logits, extra_query_features
from slimecore.backbones import Backbone
from slimecore.config import flat, to_dict
from slimecore.imaging.resize import fit_short_side
from slimecore.imaging.tensors import to_tensor
from slimecore.learning.augmentation import augmented_views, one_hot_area
from slimecore.learning.losses import class_weights, cross_entropy, squared_error
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.runtime.device import generator, threads_for
from slimecore.runtime.progress import Progress
from slimecore.types import Annotation, PartEmbeddings

__all__ = ["learn_parts"]

_MOST_PLACES = 65_536  # kept of all views: enough for every part, and a bound on memory with wide networks


def learn_parts(
    backbone: Backbone,
    annotations: Sequence[Annotation],
    config: LearnConfig | None = None,
    *,
    short_side: int = 384,
    seed: int = 0,
    progress: Progress | None = None,
) -> PartEmbeddings:
    """Learn one set of tokens for each part of the annotations.

    Parameters
    ----------
    backbone : Backbone
    annotations : sequence of Annotation
        One or more; each may hold some of the parts only, a value means the same part in each.
    config : LearnConfig
    short_side : int
        Short side in pixels that pictures are brought to.
    seed : int
        Seeds views and initial tokens; equal seeds give equal embeddings bit for bit on CPU.
    progress : callable(step, steps, loss), optional

    Returns
    -------
    PartEmbeddings

    Raises
    ------
    InputError
        No annotation, or one value has different names.
    """
    settings = config or LearnConfig()
    parts, annotations = with_shared_parts(annotations)
    views = _encoded_views(backbone, annotations, settings.views, short_side, seed)
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
        {**flat(to_dict(settings)), "mode": "probe", "short_side": short_side, "seed": seed},
        columns=columns.detach().unflatten(0, (len(parts), -1)).cpu().numpy() if width else None,
    )


@dataclass(frozen=True, slots=True, eq=False)
class _Views:
    """All views of one annotation."""

    features: Features
    targets: Tensor  # (V, P, h, w) area fractions
    valid: Tensor  # (V, 1, h, w)


def _encoded_views(
    backbone: Backbone, annotations: Sequence[Annotation], config: ViewConfig, short_side: int, seed: int
) -> list[_Views]:
    rng = np.random.default_rng(seed)
    sets = []
    for annotation in annotations:
        size = fit_short_side(annotation.rows.shape, short_side, backbone.multiple)
        pictures, masks = augmented_views(annotation, size, config, rng)
        # One picture at a time: the pass needs the memory of one, only what is read out is kept of all.
        features = Features.cat([backbone.encode(to_tensor(rgb[None], backbone.device)) for rgb in pictures])
        areas = [one_hot_area(rows, annotation.parts, features.grid) for rows in masks]
        targets = torch.from_numpy(np.stack([fractions for fractions, _ in areas])).to(backbone.device)
        valid = torch.from_numpy(np.stack([known for _, known in areas]))[:, None].to(backbone.device)
        sets.append(_Views(features, targets, valid))
    return sets


@dataclass(frozen=True, slots=True, eq=False)
class _Places:
    """Places of all views."""

    queries: Tensor  # (N, Q + C) cross-attention queries and further columns
    targets: Tensor  # (N, P) area fractions
    valid: Tensor  # (N,)


def _sample_pixels(sets: list[_Views], config: LearnConfig, random: torch.Generator) -> _Places:
    """Places of all views; of a great many, a sample."""
    total = sum(views.valid.numel() for views in sets)
    found = []
    for views in sets:
        own = (
            extra_query_features(views.features, config.descriptor_scale, config.position_scale)
            .flatten(2)
            .transpose(1, 2)
        )
        queries = torch.cat([stacked_queries(views.features), own], 2).flatten(0, 1)
        targets = views.targets.permute(0, 2, 3, 1).flatten(0, 2)
        valid = views.valid.flatten()
        if total > _MOST_PLACES:
            kept = torch.randperm(len(queries), generator=random)[: len(queries) * _MOST_PLACES // total]
            queries, targets, valid = (tensor[kept.to(tensor.device)] for tensor in (queries, targets, valid))
        found.append((queries, targets, valid))
    return _Places(*(torch.cat(tensors) for tensors in zip(*found, strict=True)))


def _initial_tokens(backbone: Backbone, count: int, seed: int) -> Tensor:
    null = backbone.null_token()
    noise = torch.randn(count, backbone.token_dim, generator=generator(seed)).to(null)
    spread = null.std() if backbone.token_dim > 1 else null.abs().mean()
    return (null + noise * spread).requires_grad_(True)


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
    tokens, layer_logits, columns = (tensor.requires_grad_(True) for tensor in learned)
    start = tokens.detach().clone()
    optimiser = torch.optim.Adam([tokens, layer_logits, *([columns] if columns.numel() else [])], lr=config.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps, eta_min=0.05 * config.lr)
    places = _sample_pixels(sets, config, random)
    maps = [places.targets.T[None, :, None], places.valid[None, None, None]]
    weights = class_weights(maps[0], maps[1], config.class_balance)
    decay = config.weight_decay / len(sets)
    at_once = min(config.batch or len(places.queries), len(places.queries))
    with threads_for(at_once * places.queries.shape[1] * len(tokens)):
        for step in range(config.steps):
            keys = backbone.token_keys(tokens)
            meet = torch.cat([stacked_token_keys(keys, _layer_weights(layer_logits)), columns], 1)
            queries, (targets, valid) = places.queries, maps
            if 0 < config.batch < len(queries):
                some = torch.randint(len(queries), (config.batch,), generator=random).to(queries.device)
                queries, targets, valid = queries[some], targets[..., some], valid[..., some]
            probabilities = part_probabilities((queries @ meet.T).T[None, :, None], parts)
            loss = cross_entropy(probabilities, targets, valid, weights)
            loss = loss + decay * ((tokens - start).square().sum() + columns.square().sum())
            if config.was_weight:
                loss = loss + config.was_weight * _was_error(sets, keys, (layer_logits, columns), parts, config)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            if progress is not None:
                progress(step + 1, config.steps, float(loss.detach()))


def _was_error(
    sets: list[_Views], keys: tuple[Tensor, ...], learned: tuple[Tensor, Tensor], parts: int, config: LearnConfig
) -> Tensor:
    """SLiMe's WAS term, over whole views: mean over annotations."""
    total = torch.zeros(())
    for views in sets:
        features = views.features
        logits = cross_logits(features, keys, _layer_weights(learned[0]), features.grid)
        if learned[1].numel():
            logits = logits + column_logits(
                extra_query_features(features, config.descriptor_scale, config.position_scale), learned[1]
            )
        was = attend_self(features, part_probabilities(logits, parts))
        total = total + squared_error(was, views.targets, views.valid) / len(sets)
    return total
