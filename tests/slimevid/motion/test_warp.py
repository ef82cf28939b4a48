"""Warping soft labels, and the reliability of a flow."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slimevid.motion.warp import reliability, sampling_grid, warp_soft

RNG = np.random.default_rng(0)


def soft_of(parts: int, size: tuple[int, int]) -> np.ndarray:
    return RNG.dirichlet(np.ones(parts), size).transpose(2, 0, 1).astype(np.float32)


def constant_flow(size: tuple[int, int], dx: float, dy: float) -> np.ndarray:
    return np.full((*size, 2), (dx, dy), np.float32)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.integers(-5, 5), st.integers(-5, 5), st.integers(1, 4))
def test_whole_pixel_flow_is_shift(dx: int, dy: int, parts: int) -> None:
    """Flow of whole pixels is a shift.

    The flow points from the present frame into the previous one, x first.
    """
    soft = soft_of(parts, (20, 24))
    warped = warp_soft(soft, sampling_grid(constant_flow((20, 24), dx, dy)))
    assert np.array_equal(warped[:, 5:-5, 5:-5], np.roll(soft, (-dy, -dx), (1, 2))[:, 5:-5, 5:-5])


def test_zero_flow_changes_nothing() -> None:
    """Zero flow changes nothing."""
    soft = soft_of(3, (9, 13))
    assert np.array_equal(warp_soft(soft, sampling_grid(constant_flow((9, 13), 0, 0))), soft)


def test_half_pixel_averages_border_repeats() -> None:
    """Flow of half a pixel averages neighbours, and the border repeats."""
    soft = soft_of(2, (6, 8))
    half = warp_soft(soft, sampling_grid(constant_flow((6, 8), 0.5, 0)))
    assert np.allclose(half[:, :, :-1], (soft[:, :, :-1] + soft[:, :, 1:]) / 2, atol=1e-6)
    assert np.allclose(half[:, :, -1], soft[:, :, -1])
    assert np.abs(half.sum(0) - 1).max() < 1e-5


@pytest.mark.parametrize(("dx", "dy"), [(0, 0), (3, -2), (-1.5, 2.5)])
def test_consistent_flow_is_reliable(dx: float, dy: float) -> None:
    """Flow that returns to its origin is fully reliable inside the image."""
    size = (20, 24)
    trust = reliability(
        constant_flow(size, dx, dy), constant_flow(size, -dx, -dy), sampling_grid(constant_flow(size, dx, dy)), 1.0
    )
    assert np.allclose(trust[4:-4, 4:-4], 1)
    y, x = np.mgrid[: size[0], : size[1]]
    outside = (x + dx < 0) | (x + dx > size[1] - 1) | (y + dy < 0) | (y + dy > size[0] - 1)
    assert (trust[outside] == 0).all()
    assert (trust[~outside] > 0).all()


def test_inconsistent_flow_is_unreliable() -> None:
    """Flow that does not return to its origin is unreliable."""
    size = (20, 24)
    assert (
        reliability(
            constant_flow(size, 4, 0), constant_flow(size, 4, 0), sampling_grid(constant_flow(size, 4, 0)), 1.0
        ).max()
        < 1e-6
    )


def test_reliability_at_tolerance() -> None:
    """Reliability falls to 1/e at the tolerance."""
    size = (8, 8)
    trust = reliability(
        constant_flow(size, 0, 0), constant_flow(size, 1.5, 0), sampling_grid(constant_flow(size, 0, 0)), 1.5
    )
    assert np.allclose(trust, np.exp(-1), atol=1e-5)
    fast = reliability(
        constant_flow((8, 40), 10, 0), constant_flow((8, 40), -8, 0), sampling_grid(constant_flow((8, 40), 10, 0)), 1.5
    )
    assert np.allclose(fast[:, :29], np.exp(-1), atol=1e-5), "the tolerance grows by 5 % of the motion"
