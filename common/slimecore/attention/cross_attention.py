"""Features of a backbone and the cross-attention read-out of learned tokens.

The network runs once with a neutral prompt. Learned tokens are keys, matched afterwards with the cached cross-attention
queries (docs/adr/0005). The map of a token is the logit ``q . k / sqrt(d)``, averaged over heads, then over layers
after bilinear resizing to a common grid (SLiMe, Khani et al., ICLR 2024, section 3.2). The logit of a part is the
log-sum-exp over its tokens, and a softmax over parts follows. SLiMe's formula is the case of a single token per part
and uniform layer weights.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from slimecore.errors import InputError

__all__ = [
    "AttentionLayer",
    "Features",
    "attend_self",
    "cross_logits",
    "part_probabilities",
    "resize_maps",
    "stacked_queries",
    "stacked_token_keys",
]


@dataclass(frozen=True, slots=True, eq=False)
class AttentionLayer:
    """Queries of an attention layer, and its keys in the case of self-attention.

    Parameters
    ----------
    name : str
        Module path in the UNet.
    grid : (int, int)
        ``(h, w)``. Cells are in row-major order.
    query : (B, heads, h*w, d) float tensor
    key : (B, heads, h*w, d) float tensor or None
        None for cross-attention, because its keys come from tokens.
    scale : float
        Factor on the logits, ``1 / sqrt(d)``.
    """

    name: str
    grid: tuple[int, int]
    query: Tensor
    key: Tensor | None
    scale: float


@dataclass(frozen=True, slots=True, eq=False)
class Features:
    """Features of a batch of images, computed once for all read-outs.

    Parameters
    ----------
    cross : tuple of AttentionLayer
        Cross-attention layers of the read-out.
    self_layers : tuple of AttentionLayer
        Self-attention layers of the read-out.
    descriptor : (B, D, h, w) float tensor
        Descriptors for matching across images, L2-normalised over D.
    size : (int, int)
        ``(H, W)`` of the network input in pixels.
    """

    cross: tuple[AttentionLayer, ...]
    self_layers: tuple[AttentionLayer, ...]
    descriptor: Tensor
    size: tuple[int, int]

    @property
    def grid(self) -> tuple[int, int]:
        """``(h, w)`` of the finest self-attention layer, the grid of all read-outs."""
        return max((layer.grid for layer in self.self_layers), key=lambda g: g[0] * g[1])

    @staticmethod
    def cat(items: Sequence[Features]) -> Features:
        """Concatenate batches of equal input size."""
        first = items[0]

        def join(index: int, kind: str) -> AttentionLayer:
            layers = [getattr(item, kind)[index] for item in items]
            template = layers[0]
            # Keep the memory layout of the projections, (B, cells, heads, d): sums over heads then need no copy.
            query = torch.cat([layer.query.transpose(1, 2) for layer in layers]).transpose(1, 2)
            key = None if template.key is None else torch.cat([layer.key for layer in layers])
            return AttentionLayer(template.name, template.grid, query, key, template.scale)

        return Features(
            tuple(join(i, "cross") for i in range(len(first.cross))),
            tuple(join(i, "self_layers") for i in range(len(first.self_layers))),
            torch.cat([item.descriptor for item in items]),
            first.size,
        )


def cross_logits(features: Features, keys: tuple[Tensor, ...], layer_weights: Tensor, grid: tuple[int, int]) -> Tensor:
    """Average the cross-attention logits of tokens over heads and layers.

    Parameters
    ----------
    features : Features
    keys : tuple of (heads, T, d) float tensors
        Keys of the tokens for each layer of ``features.cross``.
    layer_weights : (layers,) float tensor
        Weights of the layers, summing to 1 for a mean.
    grid : (int, int)
        ``(h, w)`` of the result.

    Returns
    -------
    (B, T, h, w) float tensor

    Raises
    ------
    InputError
        The number of keys or weights differs from the number of layers.
    """
    if not len(features.cross) == len(keys) == len(layer_weights):
        raise InputError(
            f"{len(features.cross)} cross-attention layers, {len(keys)} keys and {len(layer_weights)} weights do not "
            "match; the embeddings were learned with other layers"
        )
    by_grid: dict[tuple[int, int], Tensor] = {}
    for layer, key, weight in zip(features.cross, keys, layer_weights, strict=True):
        # Scaling the few keys is cheaper than scaling the queries. Sums over heads overflow float16 on SD 2.x.
        scaled = key.float() * (weight * layer.scale / layer.query.shape[1])
        logits = torch.einsum("bhnd,htd->btn", layer.query.float(), scaled).unflatten(-1, layer.grid)
        by_grid[layer.grid] = by_grid[layer.grid] + logits if layer.grid in by_grid else logits
    return torch.stack([resize_maps(logits, grid) for logits in by_grid.values()]).sum(0)


def stacked_queries(features: Features) -> Tensor:
    """Stack the cross-attention queries of all layers as columns of a matrix, for repeated read-outs.

    Resizing is linear, so its product with :func:`stacked_token_keys` equals :func:`cross_logits`.

    Parameters
    ----------
    features : Features

    Returns
    -------
    (B, h * w, sum over layers of heads * d) float tensor on ``features.grid``
    """
    columns = []
    for layer in features.cross:
        scaled = layer.query.float() * (layer.scale / layer.query.shape[1])
        maps = scaled.permute(0, 1, 3, 2).flatten(1, 2).unflatten(-1, layer.grid)
        columns.append(resize_maps(maps, features.grid).flatten(2).transpose(1, 2))
    return torch.cat(columns, 2)


def stacked_token_keys(keys: tuple[Tensor, ...], layer_weights: Tensor) -> Tensor:
    """Stack the token keys of all layers as columns, to be multiplied with :func:`stacked_queries`.

    Parameters
    ----------
    keys : tuple of (heads, T, d) float tensors
        Keys of the tokens for each layer.
    layer_weights : (layers,) float tensor

    Returns
    -------
    (T, sum over layers of heads * d) float32 tensor
    """
    weighted = [weight * key.float() for weight, key in zip(layer_weights, keys, strict=True)]
    return torch.cat([key.transpose(0, 1).flatten(1) for key in weighted], 1)


def part_probabilities(token_logits: Tensor, parts: int) -> Tensor:
    """Compute the softmax over parts of the log-sum-exp over each part's tokens.

    Parameters
    ----------
    token_logits : (B, parts * tokens, h, w) float tensor
        Tokens of a part are adjacent.
    parts : int
        Number of parts, background included.

    Returns
    -------
    (B, parts, h, w) float tensor, summing to 1 over parts
    """
    batch, count, *grid = token_logits.shape
    return token_logits.reshape(batch, parts, count // parts, *grid).logsumexp(2).softmax(1)


def attend_self(features: Features, evidence: Tensor, *, chunk: int | None = None) -> Tensor:
    """Accumulate evidence by the image's own self-attention: SLiMe's WAS map (section 3.3), mean over layers.

    Parameters
    ----------
    features : Features
    evidence : (B, parts, h, w) float tensor
        On any grid. It is resized to the grid of each layer.
    chunk : int, optional
        See :func:`slimecore.attention.was.was_attention`.

    Returns
    -------
    (B, parts, h, w) float tensor on ``features.grid``

    Raises
    ------
    InputError
        A layer of ``features.self_layers`` has no keys.
    """
    from slimecore.attention.was import was_attention

    total = torch.zeros(())
    for layer in features.self_layers:
        if layer.key is None:
            raise InputError(f"layer {layer.name} has no keys; it is not a self-attention layer")
        source = resize_maps(evidence, layer.grid)
        values = source.flatten(2).transpose(1, 2)
        read = was_attention(layer.query, layer.key, values, scale=layer.scale, chunk=chunk)
        maps = read.float().transpose(1, 2).unflatten(-1, layer.grid)
        total = total + resize_maps(maps, features.grid) / len(features.self_layers)
    return total


def resize_maps(maps: Tensor, grid: tuple[int, int]) -> Tensor:
    """Resize maps (..., h, w) to a grid by bilinear interpolation with half-pixel centres."""
    if tuple(maps.shape[-2:]) == grid:
        return maps
    return functional.interpolate(maps, size=grid, mode="bilinear", align_corners=False)
