"""Votes of pixels for faces."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from slime3d.labelling.votes import cast_votes


@settings(max_examples=30, deadline=None)
@given(
    arrays(np.int32, (2, 4, 5), elements=st.integers(-1, 5)), arrays(np.int64, (2, 4, 5), elements=st.integers(-1, 2))
)
def test_votes_count_pixels(ids, rows):
    """Votes are counts of pixels."""
    rows[0, 0, 0] = 2
    votes = cast_votes(ids, rows, 6)
    expected = np.zeros((6, 3))
    for face, row in zip(ids.ravel(), rows.ravel(), strict=True):
        if face >= 0 and row >= 0:
            expected[face, row] += 1
    np.testing.assert_array_equal(votes, expected)
    soft = np.stack([rows == p for p in range(3)], 1).astype(np.float32)
    np.testing.assert_allclose(cast_votes(ids, soft, 6), expected)
