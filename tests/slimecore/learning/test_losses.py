"""Losses against values worked out by hand and the naive implementation."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slimecore.learning.losses import (
    class_weights,
    cross_entropy,
    diffusion_loss,
    published_cross_entropy,
    published_weights,
    was_error,
)
from tests.slimecore import naive_slime as naive
from tests.slimecore.faithful_case import PARTS, close


def test_published_losses_match_naive(case):
    """The losses equal those of the naive implementation image by image."""
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(2, PARTS, 8, 16, generator=draw)
    was = logits.softmax(1)
    close(published_weights(case.rows, PARTS)[1].double(), naive.naive_class_weights(case.rows[1], PARTS), 1e-6)
    close(published_cross_entropy(logits, case.rows), naive.naive_cross_entropy(logits, case.rows).mean(), 1e-6)
    close(was_error(was, case.rows), naive.naive_squared(was, case.rows).mean(), 1e-6)
    c, u, target = torch.randn(3, 2, 4, 8, 16, generator=draw)
    close(diffusion_loss(c, u, target, 100.0), naive.naive_diffusion_loss(c, u, target).mean(), 1e-6)


def test_fully_ignored_image_gives_zero_loss():
    """An image without a labelled pixel gives zero loss."""
    rows = torch.full((1, 4, 4), -1)
    assert float(published_cross_entropy(torch.randn(1, 2, 4, 4), rows)) == 0
    assert float(was_error(torch.rand(1, 2, 4, 4), rows)) == 0


def test_cross_entropy_by_hand():
    """Cross entropy equals a value worked out by hand."""
    targets = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    probabilities = torch.tensor([[[[0.8, 0.4]], [[0.2, 0.6]]]])
    valid = torch.ones(1, 1, 1, 2)
    weights = torch.tensor([1.0, 3.0])
    expected = -(1 * np.log(0.8) + 3 * np.log(0.6)) / 4
    assert float(cross_entropy(probabilities, targets, valid, weights)) == pytest.approx(expected, rel=1e-5)


def test_class_weights_balance_areas():
    """Class weights balance areas and drop absent parts."""
    targets = torch.zeros(1, 3, 1, 10)
    targets[0, 0, 0, :9] = 1
    targets[0, 1, 0, 9:] = 1
    valid = torch.ones(1, 1, 1, 10)
    even = class_weights(targets, valid, power=1.0)
    assert float(even[0] * 9) == pytest.approx(float(even[1] * 1), rel=1e-5)
    assert float(even[2]) == 0
    assert class_weights(targets, valid, power=0.0)[:2].tolist() == pytest.approx([1.0, 1.0])
