"""Votes by position, features and colour, and their trust."""

from __future__ import annotations

import numpy as np

from slime3d.transfer.similarity import cross_validated_trust, vote_by_feature, vote_by_position, vote_by_target_color


def test_position_always_votes_features_only_near():
    """Position always votes, features vote only near known features."""
    rng = np.random.default_rng(2)
    known, labels = rng.normal(size=(200, 3)), rng.integers(0, 3, 200)
    near, far = known[:20] + 1e-4, known[:20] + 50.0
    for chance in (vote_by_position(known, labels, far, 3), vote_by_position(known, labels, near, 3)):
        np.testing.assert_allclose(chance.sum(1), 1)
    assert vote_by_position(known, labels, far, 3).max(1).min() > 0.4
    alike = vote_by_feature(known, labels, near, 3, 0.05)
    np.testing.assert_array_equal(alike.argmax(1), labels[:20])
    np.testing.assert_allclose(vote_by_feature(known, labels, far, 3, 0.05), 1 / 3)


def test_vote_by_position_matches_naive():
    """Votes by position agree with a naive implementation."""
    rng = np.random.default_rng(3)
    known, labels, asking = rng.normal(size=(60, 4)), rng.integers(0, 3, 60), rng.normal(size=(15, 4))
    got = vote_by_position(known, labels, asking, 3)
    for point, chance in zip(asking, got, strict=True):
        squared = ((known - point) ** 2).sum(1)
        near = squared.argsort()[:16]
        weight = np.exp(-(squared[near] - squared.min()) / 0.02)
        share = np.array([weight[labels[near] == p].sum() for p in range(3)]) / weight.sum()
        np.testing.assert_allclose(chance, (share + 0.01 / 3) / 1.01, atol=1e-9)


def test_trust_requires_prediction_across_regions():
    """A feature is trusted only where it predicts the labels of other regions."""
    rng = np.random.default_rng(4)
    region = np.repeat(np.arange(12), 30)
    labels, area = region % 3, np.ones(360)
    telling = labels[:, None] + 0.001 * rng.normal(size=(360, 1))
    own = region[:, None] + 0.001 * rng.normal(size=(360, 1))  # every region alone with its colour
    assert cross_validated_trust(telling, labels, region, area, 3, 0.05) > 0.9
    assert cross_validated_trust(own, labels, region, area, 3, 0.05) < 0.01
    assert cross_validated_trust(telling, np.zeros(360, int), region, area, 3, 0.05) == 0


def test_equal_colours_share_vote():
    """Faces of the same colour share their vote."""
    color = np.repeat([[0.1, 0.1, 0.1], [0.9, 0.2, 0.2]], [6, 4], axis=0)
    chance = np.tile([0.9, 0.1], (10, 1))
    chance[6:] = [0.2, 0.8]
    chance[0] = [0.1, 0.9]
    says = vote_by_target_color(color, chance, np.ones(10))
    assert (says[:6].argmax(1) == 0).all()
    assert (says[6:].argmax(1) == 1).all()
