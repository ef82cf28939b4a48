"""Ranges of the memory's settings."""

from __future__ import annotations

import pytest

from slimecore.errors import ConfigError
from slimecore.memory.config import MemoryConfig


@pytest.mark.parametrize(
    "bad",
    [
        {"recent_frames": -1},
        {"write_interval": 0},
        {"temperature": 0.0},
        {"color_weight": -1.0},
        {"key_dims": -1},
        {"novelty_distance": -1.0},
    ],
)
def test_memory_settings_out_of_range_refused(bad):
    """Settings out of range are refused."""
    with pytest.raises(ConfigError):
        MemoryConfig(**bad)


@pytest.mark.parametrize("lasting", [-0.1, 1.1])
def test_reference_share_out_of_range_refused(lasting):
    """A reference share out of range is refused."""
    with pytest.raises(ConfigError, match=r"memory\.reference_share"):
        MemoryConfig(reference_share=lasting)
