"""Clips of a sliding disc."""

from __future__ import annotations

import pytest


@pytest.fixture
def slid(clip_of_a_disc):
    """Nine frames of a disc that slides by four columns a frame, and the first mask."""
    return clip_of_a_disc(9, 4)
