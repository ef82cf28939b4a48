"""Ranges of faithful mode's settings."""

from __future__ import annotations

import pytest

from slimecore.errors import ConfigError, InputError
from slimecore.io.masks import annotate
from slimecore.learning.faithful import learn_faithful
from slimecore.learning.faithful_config import AugmentConfig, FaithfulConfig, LoraConfig


def test_faithful_settings_out_of_range_refused(backbone, two_tone):
    """Settings out of range are refused."""
    for wrong in (
        {"epochs": 0},
        {"timesteps": (9, 3)},
        {"timesteps": (1, 2, 3)},
        {"lr": 0.0},
        {"diffusion_loss_weight": -1.0},
    ):
        with pytest.raises(ConfigError):
            FaithfulConfig(**wrong)
    with pytest.raises(ConfigError):
        AugmentConfig(crop=0)
    with pytest.raises(ConfigError):
        LoraConfig(rank=-1)
    late = FaithfulConfig(epochs=1, timesteps=(5, 5000))
    with pytest.raises(InputError, match="timesteps reach 5000, the model has 1000"):
        learn_faithful(backbone, [annotate(*two_tone)], late, short_side=64)
