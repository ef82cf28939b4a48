"""The one read-out: attention with evidence as values (weighted accumulated self-attention, WAS).

SLiMe (Khani et al., ICLR 2024, section 3.3) averages a self-attention map over heads and layers and uses it to
accumulate the cross-attention map of every part: ``WAS_k[q] = sum_p A[q, p] F_k[p]`` with `p` on the *key* axis. ``A``
is row-stochastic, so this is ordinary attention whose values are the evidence F. The same call reads a memory of
earlier frames (keys = their places, F = their masks) and other views of a mesh (F = their votes). The result stays in
the convex hull of F: it cannot invent a label.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from slimecore.errors import InputError

__all__ = ["attend_with_evidence", "was_attention"]


def was_attention(
    query: Tensor,
    key: Tensor,
    evidence: Tensor,
    *,
    scale: float | None = None,
    chunk: int | None = None,
    top_k: int | None = None,
) -> Tensor:
    """``mean over heads of softmax(scale * q kᵀ) @ F``; the N x M map is never stored whole.

    Parameters
    ----------
    query : (..., heads, N, d) float tensor
        Queries of the places to label.
    key : (..., heads, M, d) float tensor
        Keys of the places that carry evidence.
    evidence : (..., M, K) float tensor
        Evidence F, shared by all heads.
    scale : float, optional
        Factor on the logits; ``1 / sqrt(d)`` by default.
    chunk : int, optional
        Queries a pass of the explicit computation. By default the fused kernel of the device is used (memory
        O(N + M)); with `chunk` the computation is explicit and needs O(heads * chunk * M).
    top_k : int, optional
        Keep only the `top_k` largest logits of every query and head (label propagation, Jabri et al. 2020). Explicit;
        `chunk` defaults to 512.

    Returns
    -------
    (..., N, K) float tensor
        Rows are convex combinations of the rows of `evidence`.

    Raises
    ------
    InputError
        Shapes do not fit each other, or `chunk` or `top_k` is not positive.

    Notes
    -----
    Differentiable in all three tensors. SLiMe averages over layers too: average the results of one call a layer.
    """
    _check(query, key, evidence, chunk, top_k)
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    if chunk is None and top_k is None:
        return _fused(query, key, evidence, factor)
    step = chunk or 512
    parts = [_explicit(block, key, evidence, factor, top_k) for block in query.split(step, dim=-2)]
    return torch.cat(parts, dim=-2)


def _check(query: Tensor, key: Tensor, evidence: Tensor, chunk: int | None, top_k: int | None) -> None:
    if query.ndim < 3 or key.ndim < 3 or evidence.ndim < 2:
        raise InputError("was_attention takes query (..., heads, N, d), key (..., heads, M, d), evidence (..., M, K)")
    same_heads = query.shape[-3] == key.shape[-3] and query.shape[-1] == key.shape[-1]
    if not same_heads or key.shape[-2] != evidence.shape[-2] or key.shape[-2] == 0:
        raise InputError(
            f"was_attention: query {tuple(query.shape)}, key {tuple(key.shape)} and evidence {tuple(evidence.shape)} "
            "do not fit: heads and d of query and key, and M of key and evidence, must be equal and M at least 1"
        )
    for name, value in (("chunk", chunk), ("top_k", top_k)):
        if value is not None and value < 1:
            raise InputError(f"was_attention: {name} must be at least 1, got {value}")


def attend_with_evidence(
    query: Tensor, key: Tensor, value: Tensor, evidence: Tensor, scale: float
) -> tuple[Tensor, Tensor]:
    """One attention that carries features and evidence together: ``softmax(scale * q kᵀ) @ [v | F]``.

    The softmax, by far the larger half, is done once instead of twice; WAS then costs a layer that runs anyway a few
    value columns.

    Parameters
    ----------
    query, key, value : (B, heads, N, d) float tensors
    evidence : (B, N, K) float tensor
    scale : float

    Returns
    -------
    attended : (B, heads, N, d) float tensor
        What the layer would have computed alone.
    was : (B, N, K) float tensor
        Mean over heads of the accumulated evidence.
    """
    d, k = value.shape[-1], evidence.shape[-1]
    spread = evidence.to(value.dtype).unsqueeze(1).expand(-1, value.shape[1], -1, -1)
    out = _fused_sdpa(query, key, torch.cat([value, spread], -1), scale)
    return out[..., :d], out[..., d : d + k].mean(1)


def _fused(query: Tensor, key: Tensor, evidence: Tensor, scale: float) -> Tensor:
    k = evidence.shape[-1]
    lead = torch.broadcast_shapes(query.shape[:-3], key.shape[:-3], evidence.shape[:-2])
    heads = query.shape[-3]
    value = evidence.to(query.dtype).unsqueeze(-3).expand(*lead, heads, *evidence.shape[-2:])
    query, key = query.expand(*lead, -1, -1, -1), key.expand(*lead, -1, -1, -1)
    query, key, value = (t.reshape(-1, *t.shape[-3:]) for t in (query, key, value))
    out = _fused_sdpa(query, key, value, scale)
    return out[..., :k].mean(dim=-3).reshape(*lead, query.shape[-2], k)


def _fused_sdpa(query: Tensor, key: Tensor, value: Tensor, scale: float) -> Tensor:
    # The memory-lean kernels want values as wide as queries, in steps of 8: pad with zeros, which change neither the
    # logits (a zero adds nothing to a dot product) nor the columns that are kept.
    width = -(-max(query.shape[-1], value.shape[-1]) // 8) * 8
    query, key, value = (functional.pad(t, (0, width - t.shape[-1])) for t in (query, key, value))
    return functional.scaled_dot_product_attention(query, key, value, scale=scale)


def _explicit(query: Tensor, key: Tensor, evidence: Tensor, scale: float, top_k: int | None) -> Tensor:
    logits = torch.matmul(query * scale, key.transpose(-1, -2)).float()
    if top_k is not None and top_k < logits.shape[-1]:
        kept, where = logits.topk(top_k, dim=-1)
        weights = torch.zeros_like(logits).scatter(-1, where, kept.softmax(dim=-1))
    else:
        weights = logits.softmax(dim=-1)
    return torch.matmul(weights.mean(dim=-3).to(evidence.dtype), evidence)
