"""A result is valid only while everything it was made of is as recorded."""

from __future__ import annotations

import pytest

from slimecore.provenance.validity import stale_reason

A, B = "a" * 64, "b" * 64


@pytest.mark.parametrize(
    ("recorded", "current", "reason"),
    [
        ({"mesh": A, "size": 3}, {"size": 3, "mesh": A}, ""),
        ({"mesh": A, "masks": A}, {"mesh": B, "masks": B}, "mesh, masks changed"),
        ({"mesh": A}, {"mesh": A, "masks": B}, "masks changed"),
        ({"mesh": A, "masks": B}, {"mesh": A}, "masks changed"),
        ({"s": {"seed": 0, "x": {"y": 1}}}, {"s": {"seed": 1, "x": {"y": 1}}}, "s.seed 0 -> 1"),
        ({"plugins": {"a.py": A, "b.py": A}}, {"plugins": {"a.py": B, "b.py": A}}, "a.py changed"),
        ({"plugins": {}}, {"plugins": {"a.py": B}}, "a.py changed"),
        ({"seed": 0, "mesh": A}, {"seed": 1, "mesh": B}, "seed 0 -> 1, mesh changed"),
    ],
)
def test_stale_reason_names_changes(recorded, current, reason):
    """Changed hashes are named, changed values are shown, and nothing is said of a valid result."""
    assert stale_reason(recorded, current) == reason


def test_text_of_component_comes_first():
    """An explanation of a changed component replaces the list, in the order of the present components."""
    texts = {"source": "the frames changed", "key": "other settings"}
    assert stale_reason({"key": "x", "source": A}, {"key": "y", "source": B}, texts) == "other settings"
    assert stale_reason({"key": "x", "source": A}, {"key": "x", "source": B}, texts) == "the frames changed"
