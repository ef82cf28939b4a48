"""Ranges of the segmentation's settings."""

from __future__ import annotations

import pytest

from slimecore.errors import ConfigError
from slimecore.segmentation.config import SegmentConfig


def test_segment_settings_out_of_range_refused():
    """Settings out of range are refused."""
    for wrong in ({"tiles": 3, "tile_size": 0.2}, {"merge": "mean"}, {"threshold": 2.0}, {"noise_samples": 0}):
        with pytest.raises(ConfigError):
            SegmentConfig(**wrong)
