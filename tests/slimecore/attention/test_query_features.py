"""Columns beside the cross-attention queries: what learning and reading must agree on."""

from __future__ import annotations

import math

import pytest
import torch

from slimecore.attention.cross_attention import (
    cross_logits,
    stacked_queries,
    stacked_token_keys,
)
from slimecore.attention.query_features import column_logits, extra_query_features
from tests.slimecore.attention.random_features import random_features


def test_descriptor_features_are_scaled_descriptors():
    """Descriptor features are the scaled descriptors on the grid."""
    item = random_features()
    columns = extra_query_features(item, 5.0, 0.0)
    assert columns.shape == (2, 7, 4, 6)
    expected = 5.0 * item.descriptor[1, 3, 2:4, 4:6].mean()  # halving is a mean of 2 x 2 under half-pixel bilinear
    assert float(columns[1, 3, 1, 2]) == pytest.approx(float(expected), rel=1e-5)


def test_position_features_are_wave_products():
    """Position features are products of waves at cell centres."""
    columns = extra_query_features(random_features(), 0.0, 2.0)
    assert columns.shape == (2, 25, 4, 6)

    def waves(place):
        out = [1.0]
        for cycles in (0.5, 1.0):
            out += [math.cos(2 * math.pi * cycles * place), math.sin(2 * math.pi * cycles * place)]
        return out

    y, x = (2 + 0.5) / 4, (5 + 0.5) / 6
    expected = torch.tensor([2 * a * b for a in waves(y) for b in waves(x)])
    torch.testing.assert_close(columns[0, :, 2, 5], expected, rtol=1e-5, atol=1e-5)
    assert torch.equal(columns[0], columns[1])


def test_position_features_follow_crop():
    """The position features of a crop are those of its cells in the whole image.

    The lower right quarter at the same cell size has the features of the same cells of the whole.
    """
    whole = extra_query_features(random_features((8, 12)), 0.0, 1.0)
    quarter = extra_query_features(random_features((4, 6)), 0.0, 1.0, [(0.5, 1.0, 0.5, 1.0), (0.0, 0.5, 0.0, 0.5)])
    torch.testing.assert_close(quarter[0], whole[0, :, 4:, 6:], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(quarter[1], whole[0, :, :4, :6], rtol=1e-5, atol=1e-5)


def test_zero_scales_give_no_features():
    """Zero scales give no additional features."""
    assert extra_query_features(random_features(), 0.0, 0.0).shape == (2, 0, 4, 6)


def test_column_logits_are_dot_products():
    """The logits of the additional features are dot products."""
    columns = torch.randn(1, 3, 2, 2, generator=torch.Generator().manual_seed(1))
    vectors = torch.randn(4, 3, generator=torch.Generator().manual_seed(2))
    expected = sum(columns[0, c, 1, 0] * vectors[2, c] for c in range(3))
    assert float(column_logits(columns, vectors)[0, 2, 1, 0]) == pytest.approx(float(expected), rel=1e-5)


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
