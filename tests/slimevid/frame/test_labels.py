"""Exclusive labels from soft labels, and the presence of parts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimevid.frame.labels import argmax_labels, top_k_mean


def soft_labels(seed, parts):
    return np.random.default_rng(seed).dirichlet(np.full(1 + parts, 0.4), (6, 7)).transpose(2, 0, 1).astype(np.float32)


def naive(soft, present):
    """Decide pixel by pixel: background, or the likeliest present part where all of them together are likelier."""
    best, rows = np.zeros(soft.shape[1:], np.float32), np.zeros(soft.shape[1:], int)
    for y, x in np.ndindex(*rows.shape):
        there = {1 + i: soft[1 + i, y, x] for i in range(len(present)) if present[i]}
        rows[y, x] = max(there, key=there.get) if sum(there.values(), np.float32(0)) > soft[0, y, x] else 0
        best[y, x] = soft[rows[y, x], y, x]
    return best, rows


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(0, 63))
def test_argmax_matches_naive(seed, parts, absent):
    """Labels match the naive implementation, pixel by pixel."""
    soft = soft_labels(seed, parts)
    present = np.array([not absent >> i & 1 for i in range(parts)])
    best, rows = argmax_labels(soft, present)
    expected = naive(soft, present)
    assert np.array_equal(best, expected[0])
    assert np.array_equal(rows, expected[1])


@given(st.integers(0, 10_000), st.floats(0, 1))
def test_divided_part_covers_same_pixels(seed, share):
    """A part divided in two covers the same pixels."""
    whole = soft_labels(seed, 3)
    cut = np.concatenate([whole[:3], share * whole[3:], (1 - share) * whole[3:]]).astype(np.float32)
    undecided = np.abs(whole[0] - 0.5) < 1e-5  # rounding decides there
    rows, of_cut = (argmax_labels(soft, np.ones(len(soft) - 1, bool))[1] for soft in (whole, cut))
    assert np.array_equal((rows > 0) | undecided, (of_cut > 0) | undecided)


def test_no_gap_between_parts():
    """No gap remains where parts meet."""
    soft = np.array([0.4, 0.3, 0.3], np.float32)[:, None, None]
    assert argmax_labels(soft, np.array([True, True]))[1][0, 0] == 1
    assert argmax_labels(soft, np.array([True, False]))[1][0, 0] == 0


def test_top_k_mean_matches_sorting():
    """The mean of the strongest pixels matches sorting all pixels."""
    rng = np.random.default_rng(0)
    for size in ((3, 2), (16, 16), (61, 37), (200, 100)):
        soft = rng.random((3, *size)).astype(np.float32)
        soft[:1] = soft[:1].round(2)  # with ties
        counts = np.array([1, 4, 9])
        expected = [np.sort(p.ravel())[-min(n, p.size) :].mean() for p, n in zip(soft, counts, strict=True)]
        assert top_k_mean(soft, counts) == pytest.approx(expected)
