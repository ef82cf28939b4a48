"""The trainer: a continued run equals an unbroken run, and settings are checked."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

import slimecore
from slimecore.errors import ConfigError
from training.checkpoint import load_state, save_state
from training.config import TrainConfig
from training.encoder import load_model
from training.train import learning_rate, start_run, train


def test_resumed_training_equals_uninterrupted(tiny, tmp_path):
    """Two plus two steps equal four.

    Stopping, writing, reading and going on changes nothing, neither weights nor average nor step count.
    """
    whole = start_run(tiny)
    train(whole, tiny, until=4)
    first = start_run(tiny)
    train(first, tiny, until=2)
    save_state(tmp_path / "state.pt", first.state())
    second = start_run(tiny)
    second.restore(load_state(tmp_path / "state.pt"))
    assert second.step == 2
    train(second, tiny, until=4)
    for name, value in whole.model.state_dict().items():
        assert torch.equal(value, second.model.state_dict()[name]), name
    for name, value in whole.ema.values.items():
        assert torch.equal(value, second.ema.values[name]), name


def test_training_step_changes_weights(tiny):
    """A training step changes the weights."""
    run = start_run(tiny)
    before = run.model.null.detach().clone()
    train(run, tiny, until=1)
    assert run.step == 1
    assert not torch.equal(before, run.model.null)


def test_learning_rate_schedule():
    """The learning rate rises, stays and falls.

    Warm-up of 10, constant, last fifth falls.
    """
    config = TrainConfig(steps=100, lr=1.0, warmup=10, cooldown=0.2)
    assert learning_rate(config, 0) == pytest.approx(0.1)
    assert learning_rate(config, 50) == pytest.approx(1.0)
    assert learning_rate(config, 90) == pytest.approx(0.5)
    assert learning_rate(config, 99) == pytest.approx(0.05)


def test_checkpoint_of_other_seed_refused(tiny):
    """A checkpoint of another seed is refused."""
    run = start_run(tiny)
    state = run.state()
    with pytest.raises(ConfigError, match="of seed 5"):
        run.restore({**state, "seed": 5})


def test_start_of_other_width_refused(tiny):
    """Starting from a network of another width is refused."""
    shipped = Path(slimecore.__file__).parent / "models" / "slime-tiny"
    with pytest.raises(ConfigError, match="has other channels, cross_dim or layers"):
        start_run(replace(tiny, start=str(shipped), channels=(32, 32, 64)))


def test_run_starts_from_exported_folder(exported, tiny):
    """A run may start from an exported folder.

    The weights and the prompt are the folder's, not those of the seed.
    """
    run = start_run(replace(tiny, seed=5, start=str(exported)))
    unet, _, prompt = load_model(exported)
    for name, value in unet.state_dict().items():
        assert torch.equal(run.model.unet.state_dict()[name], value), name
    assert torch.equal(run.model.null.detach(), prompt)
    assert torch.equal(run.ema.values["null"], prompt)
