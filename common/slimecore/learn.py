"""Learn part embeddings from annotated pictures (probe mode).

The network encodes every view once; afterwards only tokens move. A step costs a few megaflop instead of a pass through
the UNet, and features cannot drift, so no diffusion loss is needed as a tether. See docs/adr/0005.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from slimecore.attention import Features, attend_self, cross_logits, part_probabilities
from slimecore.backbones import Backbone
from slimecore.config import flat, to_dict
from slimecore.device import generator
from slimecore.errors import InputError
from slimecore.images import fit_short_side
from slimecore.learn_config import LearnConfig, ViewConfig
from slimecore.losses import class_weights, cross_entropy, squared_error
from slimecore.types import Annotation, PartEmbeddings, Parts
from slimecore.views import jittered_views, one_hot_area

__all__ = ["Progress", "learn_parts", "shared_parts", "to_tensor"]

Progress = Callable[[int, int, float], None]


def to_tensor(rgb: Any, device: torch.device) -> Tensor:
    """(B, 3, H, W) float32 0..1 of (B, H, W, 3) uint8."""
    return torch.from_numpy(np.array(rgb)).to(device).permute(0, 3, 1, 2).float() / 255


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
        One or more; all with the same parts.
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
        No annotation, or their parts differ.
    """
    settings = config or LearnConfig()
    parts = shared_parts(annotations)
    views = _encoded_views(backbone, annotations, settings.views, short_side, seed)
    tokens = _initial_tokens(backbone, len(parts) * settings.tokens, seed)
    layer_logits = torch.zeros(backbone.cross_layers, device=backbone.device)
    _optimise(backbone, views, tokens, layer_logits, len(parts), settings, progress)
    return PartEmbeddings(
        parts,
        tokens.detach().reshape(len(parts), settings.tokens, -1).cpu().numpy(),
        _layer_weights(layer_logits).detach().cpu().numpy(),
        backbone.name,
        backbone.revision,
        {**flat(to_dict(settings)), "mode": "probe", "short_side": short_side, "seed": seed},
    )


def shared_parts(annotations: Sequence[Annotation]) -> Parts:
    """The parts all annotations have.

    Raises
    ------
    InputError
        No annotation, or their parts differ.
    """
    if not annotations:
        raise InputError("learning needs at least one annotated picture")
    parts = annotations[0].parts
    for annotation in annotations[1:]:
        if annotation.parts.values != parts.values:
            raise InputError(f"annotations disagree on part values: {parts.values} and {annotation.parts.values}")
    return parts


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
        pictures, masks = jittered_views(annotation, size, config, rng)
        # One picture at a time: the pass needs the memory of one, only what is read out is kept of all.
        features = Features.cat([backbone.encode(to_tensor(rgb[None], backbone.device)) for rgb in pictures])
        areas = [one_hot_area(rows, annotation.parts, features.grid) for rows in masks]
        targets = torch.from_numpy(np.stack([fractions for fractions, _ in areas])).to(backbone.device)
        valid = torch.from_numpy(np.stack([known for _, known in areas]))[:, None].to(backbone.device)
        sets.append(_Views(features, targets, valid))
    return sets


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
    tokens: Tensor,
    layer_logits: Tensor,
    parts: int,
    config: LearnConfig,
    progress: Progress | None,
) -> None:
    layer_logits.requires_grad_(True)
    start = tokens.detach().clone()
    optimiser = torch.optim.Adam([tokens, layer_logits], lr=config.lr)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, config.steps, eta_min=0.05 * config.lr)
    weights = torch.stack([class_weights(s.targets, s.valid, config.balance) for s in sets]).mean(0)
    for step in range(config.steps):
        keys = backbone.token_keys(tokens)
        loss = config.weight_decay * (tokens - start).square().sum()
        for views in sets:
            logits = cross_logits(views.features, keys, _layer_weights(layer_logits), views.features.grid)
            probabilities = part_probabilities(logits, parts)
            loss = loss + cross_entropy(probabilities, views.targets, views.valid, weights) / len(sets)
            if config.was_weight:
                was = attend_self(views.features, probabilities)
                loss = loss + config.was_weight * squared_error(was, views.targets, views.valid) / len(sets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        if progress is not None:
            progress(step + 1, config.steps, float(loss.detach()))
