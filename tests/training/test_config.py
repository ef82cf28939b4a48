"""Settings of the trainer."""

import re

import pytest

from slimecore.errors import ConfigError
from training.config import LossWeights, TrainConfig, load_config


def test_config_file_overrides_defaults(tmp_path):
    """The configuration file overrides defaults, and unknown keys are named.

    Nested keys work, and a typo is an error that lists the known keys.
    """
    path = tmp_path / "run.yaml"
    path.write_text("steps: 7\nsizes: [64]\nweights: {corr: 2.0}\n")
    config = load_config(path)
    assert (config.steps, config.sizes, config.weights.corr, config.weights.was) == (
        7,
        (64,),
        2.0,
        LossWeights().was,
    )
    path.write_text("weights: {cor: 2.0}\n")
    with pytest.raises(ConfigError, match=r"unknown key 'weights\.cor'; did you mean 'weights\.corr'"):
        load_config(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("steps: abc", "'steps' takes int, got 'abc'"),
        ("steps: 0", "steps must be at least 1"),
        ("channels: [32, 64]", "'channels' takes a list of 3"),
        ("sizes: [64, 96]\ncounts: [1]", "counts must be as many as sizes"),
        ("weights: 3", "'weights' is a group of keys"),
        ("steps: [", "not valid YAML"),
    ],
)
def test_invalid_config_value_named(tmp_path, text, said):
    """An invalid value in the file is named."""
    path = tmp_path / "run.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        load_config(path)
    assert str(path) in str(caught.value)


def test_sizes_and_counts_must_match():
    """Sizes and counts must have the same length."""
    with pytest.raises(ConfigError, match="as many as sizes"):
        TrainConfig(sizes=(64, 64, 64), counts=(1, 1))
