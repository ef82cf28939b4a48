"""Ranges of probe mode's settings."""

from __future__ import annotations

import pytest

from slimecore.errors import ConfigError
from slimecore.learning.probe_config import LearnConfig


def test_probe_settings_out_of_range_refused():
    """Settings out of range are refused."""
    with pytest.raises(ConfigError, match=r"learn.tokens"):
        LearnConfig(tokens=0)
