"""Additional features beside the cross-attention queries, shared by learning and reading."""

from __future__ import annotations

import math

import pytest
import torch

from slimecore.attention.query_features import column_logits, extra_query_features
from slimecore.segmentation.readout import encode_image
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


def test_position_features_smooth_and_scaled(tiny, two_tone):
    """Position features are smooth and scaled."""
    features = encode_image(tiny, two_tone[0], 96)
    columns = extra_query_features(features, 0.0, 3.0)
    assert columns.shape == (1, 25, *features.grid)
    assert (columns[:, 0] == 3).all()
    x = (torch.arange(16) + 0.5) / 16
    torch.testing.assert_close(columns[0, 1, 5], 3 * torch.cos(torch.pi * x))
    assert extra_query_features(features, 0.0, 0.0).shape[1] == 0
    lengths = extra_query_features(features, 2.0, 0.0).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full_like(lengths, 2.0))
