"""Distance penalties, and the recent areas that tell if a part is gone."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from slimevid.cues.spatial_prior import all_parts_visible, distance_penalty, running_max_area


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.6))
def test_penalty_matches_naive_distance(seed, reach):
    """Pixels far from the parts are penalised by their distance."""
    generator = np.random.default_rng(seed)
    there = np.zeros((24, 31), bool)
    there[generator.integers(0, 24, 3), generator.integers(0, 31, 3)] = True
    places = np.stack(np.mgrid[:24, :31], -1)[:, :, None]
    distance = np.linalg.norm(places - np.argwhere(there), axis=-1).min(2) / (reach * 24)
    found = distance_penalty(there, reach)
    assert found.dtype == np.float32
    assert not found[there].any()
    # OpenCV's distance is a twentieth off at most.
    np.testing.assert_array_compare(np.less_equal, found, 8 * np.clip(1.06 * distance - 1, 0, 1) + 1e-4)
    np.testing.assert_array_compare(np.greater_equal, found, 8 * np.clip(0.94 * distance - 1, 0, 1) - 1e-4)


def test_no_penalty_without_parts():
    """Without expected parts nothing is penalised."""
    assert not distance_penalty(np.zeros((4, 5), bool), 0.1).any()


def test_halved_part_counts_as_gone():
    """A slowly shrinking part is visible. A part that loses half its area counts as gone for a number of frames."""
    lately = running_max_area(np.array([100.0, 50.0]), np.zeros(2))
    assert all_parts_visible(np.array([100.0, 50.0]), lately)
    lately = running_max_area(np.array([98.5, 50.0]), lately)
    assert all_parts_visible(np.array([98.5, 50.0]), lately)
    gone = []
    for _ in range(40):
        areas = np.array([98.5, 25.0])
        lately = running_max_area(areas, lately)
        gone.append(not all_parts_visible(areas, lately))
    assert gone[0]
    assert 10 < sum(gone) < 20
    assert gone == sorted(gone, reverse=True)


def test_empty_part_stays_gone():
    """A part without pixels is gone, however long ago it was visible."""
    assert not all_parts_visible(np.zeros(1), np.zeros(1))
