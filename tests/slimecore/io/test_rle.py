"""COCO's run-length code, against its definition and known codes."""

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from slimecore.errors import InputError
from slimecore.io.rle import decode_rle, encode_rle, runs_of

MASKS = arrays(np.uint8, st.tuples(st.integers(1, 40), st.integers(1, 40)), elements=st.integers(0, 1))


def naive_runs(mask):
    runs, value, length = [], 0, 0
    for x in range(mask.shape[1]):
        for y in range(mask.shape[0]):
            if mask[y, x] != value:
                runs.append(length)
                value, length = mask[y, x], 0
            length += 1
    return [*runs, length]


def naive_text(runs):
    """The code written out: differences from the fourth run on, groups of five bits in two's complement."""
    out = ""
    for i, run in enumerate(runs):
        number = run - runs[i - 2] if i > 2 else run
        groups = 1
        while not -(1 << (5 * groups - 1)) <= number < 1 << (5 * groups - 1):
            groups += 1
        bits = number % (1 << (5 * groups))
        for group in range(groups):
            piece = (bits >> (5 * group)) % 32
            out += chr(48 + piece + (32 if group < groups - 1 else 0))
    return out


@given(MASKS)
def test_rle_matches_naive(mask):
    """Runs and text equal those of the naive implementation."""
    assert runs_of(mask) == naive_runs(mask)
    assert encode_rle(mask)["counts"] == naive_text(naive_runs(mask))


@given(MASKS)
def test_rle_round_trip_exact(mask):
    """Decoding gives the mask back."""
    encoded = encode_rle(mask)
    assert encoded["size"] == list(mask.shape)
    assert np.array_equal(decode_rle(encoded), mask)


def test_long_runs_encoded_in_pieces():
    """Long runs take several characters."""
    mask = np.zeros((480, 854), np.uint8)
    mask[100:300, 200:500] = 1
    encoded = encode_rle(mask)
    assert np.array_equal(decode_rle(encoded), mask)
    assert encoded["counts"] == naive_text(naive_runs(mask))


def test_rle_known_codes():
    """Codes equal those known from COCO."""
    assert encode_rle(np.array([[0, 1], [1, 1]]))["counts"] == "13"
    assert encode_rle(np.ones((3, 3)))["counts"] == "09"
    assert encode_rle(np.zeros((100, 1)))["counts"] == "T3"


def test_rle_of_wrong_length_refused():
    """Runs that do not fill the size are refused."""
    with pytest.raises(InputError, match=r"cover 4 pixels, 3x2 has 6"):
        decode_rle({"size": [2, 3], "counts": "13"})


@pytest.mark.skipif(importlib.util.find_spec("pycocotools") is None, reason="pycocotools is not installed")
def test_rle_matches_pycocotools():
    """The codes agree with pycocotools."""
    from pycocotools import mask as official

    rng = np.random.default_rng(0)
    for _ in range(20):
        mask = (rng.random((37, 53)) < 0.3).astype(np.uint8)
        assert official.encode(np.asfortranarray(mask))["counts"].decode() == encode_rle(mask)["counts"]
