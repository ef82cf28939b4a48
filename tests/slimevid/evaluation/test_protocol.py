"""Matching of proposals, and the statistics of a curve of scores."""

from __future__ import annotations

import numpy as np
import pytest

from slimevid.evaluation.protocol import match_proposals, statistic
from tests.slimevid.evaluation.commands import naive_statistics


def test_tied_proposals_matched_once():
    """Tied proposals are each matched at most once."""
    j = np.ones((3, 2, 4))
    assert sorted(set(match_proposals(j, j).tolist())) == sorted(match_proposals(j, j).tolist())


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7, 88, 256, 257, 300, 1000])
def test_statistics_match_naive(n):
    """Mean, recall and decay match their definition at any length."""
    values = np.random.default_rng(n).random(n)
    s = statistic(values)
    assert (s.mean, s.recall, s.decay) == pytest.approx(naive_statistics(values.tolist()), abs=1e-9)


def test_decay_beyond_256_frames():
    """Decay is right beyond 256 frames.

    The official tool gives NaN here: its bin edges are kept in 8 bits.
    """
    curve = np.r_[np.ones(150), np.full(150, 0.25)]
    assert statistic(curve).decay == 0.75
