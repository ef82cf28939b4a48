"""Weighted accumulated self-attention (WAS): attention whose values are part evidence.

SLiMe (Khani et al., ICLR 2024, section 3.3) averages a self-attention map A over heads and layers. It accumulates the
cross-attention map F of every part k: ``WAS_k[q] = sum_p A[q, p] F_k[p]`` with p on the *key* axis. The rows of A sum
to 1, so WAS is ordinary attention whose values are F. Every result is a convex combination of rows of F.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional

from slimecore.errors import InputError

__all__ = ["attend_with_evidence", "was_attention"]

_DEFAULT_CHUNK_QUERIES = 512


def was_attention(
    query: Tensor,
    key: Tensor,
    evidence: Tensor,
    *,
    scale: float | None = None,
    chunk: int | None = None,
    top_k: int | None = None,
) -> Tensor:
    """Compute ``mean over heads of softmax(scale * q kᵀ) @ F`` without storing the whole N x M map.

    Parameters
    ----------
    query : (..., heads, N, d) float tensor
        Queries of the grid cells to label.
    key : (..., heads, M, d) float tensor
        Keys of the grid cells that hold evidence.
    evidence : (..., M, K) float tensor
        Evidence F of K parts, shared by all heads.
    scale : float, optional
        Factor on the logits, ``1 / sqrt(d)`` by default.
    chunk : int, optional
        Queries per block of the explicit computation, which needs O(heads * chunk * M) memory. By default the fused
        kernel of the device is used, which needs O(N + M).
    top_k : int, optional
        Keep only the `top_k` largest logits of every query and head, as in label propagation (Jabri et al., NeurIPS
        2020). The computation is then explicit, and `chunk` defaults to 512.

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
    Differentiable in all three tensors. SLiMe averages over layers too: average the results of a call per layer.
    """
    _check(query, key, evidence, chunk, top_k)
    factor = 1.0 / math.sqrt(query.shape[-1]) if scale is None else scale
    if chunk is None and top_k is None:
        return _fused(query, key, evidence, factor)
    queries_per_block = chunk or _DEFAULT_CHUNK_QUERIES
    blocks = [_explicit(block, key, evidence, factor, top_k) for block in query.split(queries_per_block, dim=-2)]
    return torch.cat(blocks, dim=-2)


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
    """Attend to features and evidence together: ``softmax(scale * q kᵀ) @ [v | F]``.

    The softmax is computed once for both, so WAS adds only K value columns to a layer that runs anyway.

    Parameters
    ----------
    query, key, value : (B, heads, N, d) float tensors
    evidence : (B, N, K) float tensor
    scale : float
        Factor on the logits.

    Returns
    -------
    attended : (B, heads, N, d) float tensor
        Output of the attention without evidence.
    was : (B, N, K) float tensor
        Accumulated evidence, mean over heads.
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
    # Memory-efficient kernels need values as wide as the queries, a multiple of 8. Padding with zeros changes neither
    # the logits nor the columns that are kept.
    width = -(-max(query.shape[-1], value.shape[-1]) // 8) * 8
    query, key, value = (functional.pad(t, (0, width - t.shape[-1])) for t in (query, key, value))
    return functional.scaled_dot_product_attention(query, key, value, scale=scale)


def _explicit(query: Tensor, key: Tensor, evidence: Tensor, scale: float, top_k: int | None) -> Tensor:
    logits = torch.matmul(query * scale, key.transpose(-1, -2)).float()
    if top_k is not None and top_k < logits.shape[-1]:
        largest, index = logits.topk(top_k, dim=-1)
        weights = torch.zeros_like(logits).scatter(-1, index, largest.softmax(dim=-1))
    else:
        weights = logits.softmax(dim=-1)
    return torch.matmul(weights.mean(dim=-3).to(evidence.dtype), evidence)
