"""Cues combined."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimevid.evidence import Cue, fuse


def pixel(*values):
    """Probabilities (P, 1, 1) of one place."""
    return np.array(values, np.float32)[:, None, None]


def naive(cues, floor, against):
    """Of one place, in plain Python: first whether it is any part, then which."""
    count = len(cues[0].soft)

    def mixed(cue):
        return [(1 - floor) * float(p) + floor / count for p in cue.soft[:, 0, 0]]

    def product(exponents):
        found = [math.prod(mixed(c)[i] ** e for c, e in zip(cues, exponents, strict=True)) for i in range(count)]
        found = [found[0], *(f * math.exp(-a) for f, a in zip(found[1:], against, strict=True))]
        return [f / sum(found) for f in found]

    plain = product([c.weight for c in cues])
    which = product([c.weight + c.apart for c in cues])
    parts = 1 - plain[0]
    return [plain[0], *(parts * w / sum(which[1:]) for w in which[1:])]


shares = st.lists(st.floats(0.01, 1), min_size=4, max_size=4).map(lambda v: pixel(*(np.array(v) / sum(v))))
cues = st.builds(Cue, shares, st.floats(0, 2), st.floats(0, 3))


@given(st.lists(cues, min_size=1, max_size=3), st.floats(0, 0.2), st.lists(st.floats(-2, 2), min_size=3, max_size=3))
def test_whether_by_plain_weights_and_which_by_those_that_tell_apart(found, floor, against):
    odds = pixel(*against)
    assert fuse(found, floor, odds)[:, 0, 0] == pytest.approx(naive(found, floor, against), rel=2e-3, abs=1e-5)


@given(st.lists(cues, min_size=1, max_size=3))
def test_telling_apart_moves_nothing_to_or_from_the_background(found):
    plain = [cue._replace(apart=0.0) for cue in found]
    assert fuse(found, 0.02)[0] == pytest.approx(fuse(plain, 0.02)[0], abs=1e-5)


def test_fusion_is_a_normalised_product_of_experts():
    a, b = pixel(0.8, 0.2), pixel(0.6, 0.4)
    expected = 0.8 * 0.6 / (0.8 * 0.6 + 0.2 * 0.4)
    assert fuse([Cue(a, 1.0), Cue(b, 1.0)], 0.0)[0, 0, 0] == pytest.approx(expected, rel=1e-5)
    assert fuse([Cue(a, 1.0), Cue(b, 0.0)], 0.0)[0, 0, 0] == pytest.approx(0.8, rel=1e-5)
    assert fuse([Cue(a, 1.0), Cue(b, np.zeros((1, 1)))], 0.0)[1, 0, 0] == pytest.approx(0.2, rel=1e-5)


def test_no_cue_can_veto():
    assert fuse([Cue(pixel(1, 0), 1.0), Cue(pixel(0.01, 0.99), 2.0)], 0.02)[1, 0, 0] > 0.5


def test_certainty_without_a_floor_gives_numbers():
    sure = [Cue(pixel(0, 1, 0), 3.0, 2.0), Cue(pixel(0, 0, 1), 3.0, 2.0), Cue(pixel(1, 0, 0), 3.0)]
    found = fuse(sure, 0.0)
    assert np.isfinite(found).all()
    assert found.sum() == pytest.approx(1, abs=1e-5)


def test_one_part_has_nothing_to_be_told_from():
    cue = Cue(pixel(0.3, 0.7), 1.0)
    assert np.array_equal(fuse([cue._replace(apart=2.0)], 0.02), fuse([cue], 0.02))


def test_odds_against_a_part_go_to_the_background():
    fused = fuse([Cue(pixel(0.5, 0.3, 0.2), 1.0)], 0.0, pixel(1.0, 0.0))
    assert fused[1, 0, 0] / fused[0, 0, 0] == pytest.approx(0.6 * np.exp(-1), rel=1e-5)
    assert fused[2, 0, 0] / fused[0, 0, 0] == pytest.approx(0.4, rel=1e-5)
