"""J and F against loops written from the official definitions."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from slimecore.errors import InputError
from slimecore.metrics.davis import boundary_f, boundary_map, region_j

QUICK = settings(max_examples=60, deadline=None, derandomize=True)


def naive_j(a: np.ndarray, b: np.ndarray) -> float:
    both = either = 0
    for p, q in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True):
        both += bool(p) and bool(q)
        either += bool(p) or bool(q)
    return 1.0 if either == 0 else both / either


def naive_boundary(mask: np.ndarray) -> set[tuple[int, int]]:
    """XOR with the right, lower and lower-right one; in the last row only right, in the last column only lower."""
    h, w = mask.shape
    edge = set()
    for y in range(h):
        for x in range(w):
            here = bool(mask[y, x])
            if y == h - 1 and x == w - 1:
                continue
            if y == h - 1:
                differs = here != bool(mask[y, x + 1])
            elif x == w - 1:
                differs = here != bool(mask[y + 1, x])
            else:
                differs = any(here != bool(m) for m in (mask[y, x + 1], mask[y + 1, x], mask[y + 1, x + 1]))
            if differs:
                edge.add((y, x))
    return edge


def naive_f(a: np.ndarray, b: np.ndarray, bound: float = 0.008) -> float:
    h, w = a.shape
    radius = bound if bound >= 1 else math.ceil(bound * math.sqrt(h * h + w * w))
    edge_a, edge_b = naive_boundary(a), naive_boundary(b)

    def near(point: tuple[int, int], others: set[tuple[int, int]]) -> bool:
        return any((point[0] - y) ** 2 + (point[1] - x) ** 2 <= radius**2 for y, x in others)

    if not edge_a and not edge_b:
        return 1.0
    if not edge_a or not edge_b:
        return 0.0
    precision = sum(near(p, edge_b) for p in edge_a) / len(edge_a)
    recall = sum(near(p, edge_a) for p in edge_b) / len(edge_b)
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


@st.composite
def mask_pairs(draw):
    shape = draw(hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=14))
    blocks = st.integers(1, 3)

    def one():
        mask = np.zeros(shape, bool)
        for _ in range(draw(blocks)):
            y, x = draw(st.integers(0, shape[0])), draw(st.integers(0, shape[1]))
            mask[y : y + draw(st.integers(0, 9)), x : x + draw(st.integers(0, 9))] ^= True
        return mask

    noise = hnp.arrays(np.bool_, shape)
    return (one(), one()) if draw(st.booleans()) else (draw(noise), draw(noise))


@QUICK
@given(mask_pairs(), st.sampled_from([0.008, 0.1, 0.2, 1, 2, 3]))
def test_j_and_f_match_naive(pair, bound: float) -> None:
    """J and F match the definitions."""
    a, b = pair
    assert region_j(a, b) == pytest.approx(naive_j(a, b), abs=1e-9)
    assert boundary_f(a, b, bound) == pytest.approx(naive_f(a, b, bound), abs=1e-9)
    assert set(zip(*(i.tolist() for i in np.nonzero(boundary_map(a))), strict=True)) == naive_boundary(a)


@pytest.mark.parametrize(("size", "radius"), [((480, 854), 8), ((1080, 1920), 18), ((100, 100), 2)])
def test_boundary_tolerance_is_official(size: tuple[int, int], radius: int) -> None:
    """The boundary tolerance is the official tolerance.

    Two parallel borders are matched up to the radius, and not beyond.
    """
    a = np.zeros(size, bool)
    a[:, : size[1] // 2] = True
    for shift, expected in ((radius, 1.0), (radius + 1, 0.0)):
        assert boundary_f(a, np.roll(a, shift, 1) | a) == expected
        assert boundary_f(a, np.roll(a, -shift, 1) & a) == expected


@QUICK
@given(mask_pairs())
def test_j_and_f_symmetric_and_bounded(pair) -> None:
    """J and F are symmetric, bounded by 0 and 1, and 1 for equal masks."""
    a, b = pair
    assert region_j(a, b) == region_j(b, a)
    assert region_j(a, a) == boundary_f(a, a) == 1.0
    assert 0 <= region_j(a, b) <= 1
    assert 0 <= boundary_f(a, b) <= 1
    assert boundary_f(a, b) == pytest.approx(boundary_f(b, a), abs=1e-12)
    assert region_j(a.astype(int) * 7, b) == region_j(a, b)


def masks() -> dict[str, np.ndarray]:
    size = (20, 30)
    hand = {name: np.zeros(size, bool) for name in ("empty", "full", "pixel", "corner", "last", "border")}
    hand["full"][:] = True
    hand["pixel"][9, 14] = True
    hand["corner"][0, 0] = True
    hand["last"][-1, -1] = True
    hand["border"][5:, 10:] = True
    return hand


@pytest.mark.parametrize(
    ("one", "other", "j", "f"),
    [
        ("empty", "empty", 1.0, 1.0),
        ("empty", "full", 0.0, 1.0),  # neither has a boundary
        ("full", "full", 1.0, 1.0),
        ("empty", "pixel", 0.0, 0.0),
        ("full", "pixel", 1 / 600, 0.0),
        ("pixel", "pixel", 1.0, 1.0),
        ("corner", "last", 0.0, 0.0),
        ("border", "full", 300 / 600, 0.0),
        ("border", "border", 1.0, 1.0),
    ],
)
def test_j_and_f_by_hand(one: str, other: str, j: float, f: float) -> None:
    """J and F equal values worked out by hand."""
    a, b = masks()[one], masks()[other]
    assert region_j(a, b) == pytest.approx(j, abs=1e-12)
    assert boundary_f(a, b) == f == naive_f(a, b)


@QUICK
@given(mask_pairs(), st.integers(0, 2**16))
def test_void_pixels_are_background(pair, seed: int) -> None:
    """Void pixels are background in both masks."""
    a, b = pair
    void = np.random.default_rng(seed).random(a.shape) < 0.3
    assert region_j(a, b, void) == pytest.approx(naive_j(a & ~void, b & ~void), abs=1e-9)
    assert boundary_f(a, b, 2, void) == pytest.approx(naive_f(a & ~void, b & ~void, 2), abs=1e-9)


def test_boundary_of_single_pixel() -> None:
    """The boundary of a single pixel lies towards the origin."""
    assert naive_boundary(masks()["pixel"]) == {(8, 13), (8, 14), (9, 13), (9, 14)}
    assert np.argwhere(boundary_map(masks()["pixel"])).tolist() == [[8, 13], [8, 14], [9, 13], [9, 14]]


def test_masks_of_unequal_size_refused() -> None:
    """Masks of unequal size are refused."""
    with pytest.raises(InputError, match="one size"):
        region_j(np.zeros((3, 4)), np.zeros((4, 3)))
    with pytest.raises(InputError, match="one size"):
        boundary_f(np.zeros((3, 4, 1)), np.zeros((3, 4, 1)))
    with pytest.raises(InputError, match="one size"):
        region_j(np.zeros((3, 4)), np.zeros((3, 4)), np.zeros((4, 4), bool))
