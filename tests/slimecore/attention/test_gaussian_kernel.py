"""Unnormalised Gaussian attention sums against attention by softmax."""

from __future__ import annotations

import torch

from slimecore.attention.gaussian_kernel import GaussianKeys, gaussian_attention_sums, kernel_queries
from slimecore.attention.was import was_attention


def test_gaussian_sums_match_unnormalised_attention():
    """Gaussian sums are attention before the division.

    More queries than a block, and exponents down to where they count as nothing.
    """
    random = torch.Generator().manual_seed(0)
    query, key = 3 * torch.randn(300, 6, generator=random), 3 * torch.randn(70, 6, generator=random)
    bias, evidence = torch.randn(70, generator=random), torch.rand(70, 4, generator=random)
    keys = GaussianKeys.of(key, bias, evidence)
    sums = gaussian_attention_sums(kernel_queries(query), keys)
    logits = bias - 0.5 * torch.cdist(query, key).square()
    assert float(logits.min()) < -100
    torch.testing.assert_close(sums[-1], logits.exp().sum(1), rtol=1e-3, atol=1e-24)
    padded = torch.cat([key, (bias - 0.5 * key.square().sum(1))[:, None]], 1)
    asked = torch.nn.functional.pad(query, (0, 1), value=1.0)
    known = sums[-1] > 1e-20
    attended = was_attention(asked[None], padded[None], evidence, scale=1.0)
    torch.testing.assert_close((sums[:-1] / sums[-1]).T[known], attended[known], rtol=1e-3, atol=1e-4)
    chosen = torch.tensor([3, 40, 41])
    some = GaussianKeys.of(key[chosen], bias[chosen], evidence[chosen])
    assert torch.equal(
        gaussian_attention_sums(kernel_queries(query), keys.among(chosen)),
        gaussian_attention_sums(kernel_queries(query), some),
    )
