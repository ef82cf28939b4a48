"""Cross-attention logits: stacked queries and keys give the logits of the maps, and a part sums over its tokens."""

from __future__ import annotations

import torch

from slimecore.attention.cross_attention import (
    cross_logits,
    part_probabilities,
    stacked_queries,
    stacked_token_keys,
)
from slimecore.segmentation.readout import encode_image
from tests.slimecore.attention.random_features import random_features


def test_part_logit_is_logsumexp_of_tokens():
    """The logit of a part is the log-sum-exp of its tokens."""
    logits = torch.tensor([[2.0, 0.0, 1.0, 1.0]]).reshape(1, 4, 1, 1)
    first = torch.tensor([2.0, 0.0]).logsumexp(0)
    second = torch.tensor([1.0, 1.0]).logsumexp(0)
    expected = torch.stack([first, second]).softmax(0)
    torch.testing.assert_close(part_probabilities(logits, 2)[0, :, 0, 0], expected)
    assert expected[0] > 0.55, "a mean over tokens would give one half"


def test_stacked_queries_match_resized_maps():
    """Learning reads grid cells as segmenting reads maps.

    Queries gathered cell by cell and keys as columns give the logits of the resized maps.
    """
    item = random_features()
    draw = torch.Generator().manual_seed(3)
    keys = (torch.randn(2, 4, 3, generator=draw), torch.randn(1, 4, 5, generator=draw))
    weights = torch.tensor([0.3, 0.7])
    maps = cross_logits(item, keys, weights, item.grid)
    places = stacked_queries(item) @ stacked_token_keys(keys, weights).T
    torch.testing.assert_close(places.transpose(1, 2).unflatten(-1, item.grid), maps, rtol=1e-4, atol=1e-5)


def test_stacked_queries_match_backbone_maps(tiny, two_tone):
    """Learning and reading use the same logits.

    The matrix of grid cells gives the logits of the maps.
    """
    features = encode_image(tiny, two_tone[0], 96)
    keys = tiny.token_keys(torch.randn(3, tiny.token_dim, generator=torch.Generator().manual_seed(0)))
    weights = torch.arange(1.0, tiny.cross_layers + 1) / sum(range(tiny.cross_layers + 1))
    maps = cross_logits(features, keys, weights, features.grid).flatten(2).transpose(1, 2)
    torch.testing.assert_close(
        stacked_queries(features) @ stacked_token_keys(keys, weights).T, maps, rtol=1e-4, atol=1e-4
    )
