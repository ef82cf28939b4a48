"""Cues combined: the foreground first, then the parts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimevid.fusion.evidence import ForegroundCue, FrameEvidence, floored_log, fuse_log_odds, softmax_parts

WHOLE = (slice(0, 1), slice(0, 1))


def pixel(value):
    return np.full((1, 1), value, np.float32)


def naive(cues, floor, against):
    """Return the log-odds of a pixel in plain Python: the product of experts over background and foreground."""
    background = math.prod(((1 - floor) * float(g[0, 0]) + floor / 2) ** w for g, w in cues)
    parts = math.prod(((1 - floor) * (1 - float(g[0, 0])) + floor / 2) ** w for g, w in cues)
    return math.log(parts / background) - against


cue = st.builds(ForegroundCue, st.floats(0.01, 0.99).map(pixel), st.floats(0, 2))


@given(st.lists(cue, min_size=1, max_size=3), st.floats(0, 0.2), st.floats(-2, 2))
def test_foreground_is_product_of_experts(cues, floor, against):
    """The foreground is decided by a product of experts."""
    found = fuse_log_odds(cues, floor, pixel(against))
    assert found[0, 0] == pytest.approx(naive(cues, floor, against), rel=1e-3, abs=1e-4)


@given(st.lists(cue, min_size=1, max_size=3), st.floats(0, 0.2))
def test_foreground_and_background_treated_alike(cues, floor):
    """Foreground and background are treated alike."""
    turned = [ForegroundCue(1 - c.background, c.weight) for c in cues]
    assert fuse_log_odds(turned, floor) == pytest.approx(-fuse_log_odds(cues, floor), rel=1e-3, abs=1e-4)


def test_weights_may_vary_by_pixel():
    """Weights may vary from pixel to pixel."""
    found = fuse_log_odds([ForegroundCue(np.full((1, 2), 0.2, np.float32), np.array([[1, 0]], np.float32))], 0.0)
    assert found[0] == pytest.approx([math.log(4), 0], rel=1e-5)


def test_floor_prevents_veto():
    """No cue can veto the others."""
    assert fuse_log_odds([ForegroundCue(pixel(1), 1.0), ForegroundCue(pixel(0.01), 2.0)], 0.02)[0, 0] > 0


def test_certainty_without_floor_stays_finite():
    """Certain cues without a floor give finite numbers."""
    sure = [ForegroundCue(pixel(0), 3.0), ForegroundCue(pixel(1), 3.0)]
    assert np.isfinite(fuse_log_odds(sure, 0.0)).all()
    assert np.isfinite(softmax_parts(3 * floored_log(np.array([0, 1], np.float32)[:, None, None], 0.0))).all()


@given(st.lists(st.lists(st.floats(0.001, 1), min_size=3, max_size=3), min_size=1, max_size=3), st.floats(0, 0.2))
def test_parts_are_product_of_experts(cues, floor):
    """Parts are assigned by a product of experts."""
    logs = sum(2 * floored_log(np.array(c, np.float32)[:, None, None], floor) for c in cues)
    plain = [math.prod(((1 - floor) * c[i] + floor / 10) ** 2 for c in cues) for i in range(3)]
    assert softmax_parts(logs)[:, 0, 0] == pytest.approx([p / sum(plain) for p in plain], rel=1e-3, abs=1e-5)


def test_single_part_needs_no_assignment():
    """A single part needs no assignment."""
    nothing = np.zeros((0, 2, 3), np.float32)
    assert softmax_parts(floored_log(nothing, 0.02)).shape == (0, 2, 3)


@pytest.mark.parametrize("parts", [1, 2, 5])
def test_floored_log_accepts_any_layout(parts):
    """Logarithms of parts do not depend on the memory layout.

    Memory read-outs are stored cell by cell, and come without a copy where no resizing is between.
    """
    by_place = np.random.default_rng(0).random((4, 6, parts), np.float32)
    planes = by_place.transpose(2, 0, 1)
    assert np.allclose(floored_log(planes, 0.02), np.log(planes * 0.98 + 0.002), atol=1e-5)


def test_evidence_resized_to_common_size():
    """All evidence is resized to a common size."""
    coarse, fine = np.full((2, 2), 0.2, np.float32), np.full((4, 4), 0.4, np.float32)
    nothing = np.zeros((0, 2, 2), np.float32)
    seen = FrameEvidence(ForegroundCue(coarse, 1.0), ForegroundCue(fine, 2 * fine), pixel(0.5), nothing, nothing)
    there = seen.at((4, 4), (slice(1, 3), slice(0, 3)))
    expected = 1 / (1 + math.exp(math.log(4) + 0.8 * math.log(1.5) - 0.5))
    assert there.background(0.0) == pytest.approx(np.full((2, 3), expected), rel=1e-4)
    assert seen.cues == (seen.appearance, seen.flow)
    assert not FrameEvidence(None, None, None, nothing, nothing).cues
