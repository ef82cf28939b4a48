"""Attention with a Gaussian kernel, returned as numerator and denominator (docs/adr/0025).

The logits ``bias_m - |q_n - k_m|² / 2`` are bounded above by the bias, so the exponential cannot overflow. The softmax
therefore needs no maximum of the logits, and the sums of several sets of keys can be added.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

__all__ = ["GaussianKeys", "gaussian_attention_sums", "kernel_queries"]

_BLOCK_QUERIES = 128  # a block of weights stays in the CPU's cache
_MIN_EXPONENT = -70.0  # smaller exponents give subnormal numbers, which CPUs process twenty times slower


@dataclass(frozen=True, slots=True, eq=False)
class GaussianKeys:
    """Keys whose dot product with :func:`kernel_queries` is the exponent of the kernel.

    Parameters
    ----------
    columns : (M, d + 2) float tensor
        Key vector, ``bias - |k|² / 2`` and 1.
    evidence : (P + 1, M) float tensor
        Evidence of every key, with a last row of ones.
    """

    columns: Tensor
    evidence: Tensor

    @classmethod
    def of(cls, vector: Tensor, bias: Tensor, evidence: Tensor) -> GaussianKeys:
        """Build keys from their vectors.

        Parameters
        ----------
        vector : (M, d) float tensor
        bias : (M,) float tensor
            Logarithm of each key's weight.
        evidence : (M, P) float tensor

        Returns
        -------
        GaussianKeys
        """
        tail = torch.stack([bias - 0.5 * vector.square().sum(1), torch.ones_like(bias)], 1)
        return cls(torch.cat([vector, tail], 1), torch.cat([evidence.T, torch.ones_like(evidence[:, :1]).T]))

    def among(self, chosen: Tensor) -> GaussianKeys:
        """Select the keys with indices `chosen`, (n,) int64."""
        return GaussianKeys(self.columns[chosen], self.evidence[:, chosen])


def kernel_queries(vector: Tensor) -> Tensor:
    """Return query columns (N, d + 2): `vector` (N, d), 1 and ``-|q|² / 2``."""
    return torch.cat([vector, torch.ones_like(vector[:, :1]), -0.5 * vector.square().sum(1, keepdim=True)], 1)


def gaussian_attention_sums(query: Tensor, keys: GaussianKeys) -> Tensor:
    """Sum the evidence F and the kernel weights over all keys.

    Parameters
    ----------
    query : (N, d + 2) float tensor
        Columns from :func:`kernel_queries`.
    keys : GaussianKeys

    Returns
    -------
    (P + 1, N) float tensor
        ``sum_m exp(bias_m - |q_n - k_m|² / 2) [F_m, 1]``. Dividing by the last row gives the attention.
    """
    out = query.new_empty(len(keys.evidence), len(query))
    block = query.new_empty(min(_BLOCK_QUERIES, len(query)), len(keys.columns))
    key_columns = keys.columns.T
    for start in range(0, len(query), _BLOCK_QUERIES):
        rows = query[start : start + _BLOCK_QUERIES]
        weights = torch.mm(rows, key_columns, out=block[: len(rows)])
        out[:, start : start + _BLOCK_QUERIES] = keys.evidence @ weights.clamp_(min=_MIN_EXPONENT).exp_().T
    return out
