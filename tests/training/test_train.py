"""The trainer: losses are finite, a continued run equals an unbroken one, settings are checked."""

import math
import os
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

import slimecore
from slimecore.errors import ConfigError
from training.checkpoint import Ema, load_state, save_state
from training.config import LossWeights, TrainConfig, load_config
from training.curves import append_row, trim
from training.feed import batch_of, batches
from training.model import SlimeTiny, _matching, step_losses
from training.network import Reader, build_unet, to_latents
from training.pairs import CELL
from training.train import learning_rate, start_run, train


def test_reader_stops_early(tiny):
    """The reader stops early and gives the grids.

    Coarse queries at 1/16, the rest at 1/8. Neither the attention there nor the last up block runs.
    """
    unet = build_unet(tiny.channels, tiny.cross_dim)
    ran = []
    for module in (unet.up_blocks[2], unet.up_blocks[1].attentions[0].transformer_blocks[0].attn1.to_v):
        module.register_forward_hook(lambda *_: ran.append(1))
    out = Reader(unet)(to_latents(torch.rand(2, 3, 32, 48)), torch.zeros(1, 8, tiny.cross_dim))
    assert [tuple(q.shape) for q in out.cross] == [(2, 1, 6, 32)]
    assert out.self_q.shape == out.self_k.shape == (2, 1, 24, 32)
    assert [tuple(d.shape) for d in out.descriptors] == [(2, 24, 32)]
    assert not ran


def test_trim_drops_later_rows(tmp_path):
    """Trimming drops rows that will be computed again.

    Rows up to the checkpoint stay, later rows go.
    """
    path = tmp_path / "curves.csv"
    trim(path, 5)
    for step in (1, 2, 3):
        append_row(path, {"step": step, "corr": 0.5})
    trim(path, 2)
    assert path.read_text().split() == ["step,corr", "1,0.5", "2,0.5"]


def test_losses_finite_with_gradients_everywhere(tiny):
    """Losses are finite and reach every weight.

    A denoising and a reading step together give all objectives, and a gradient to every parameter.
    """
    model = SlimeTiny(tiny)
    found = {}
    for step in (0, tiny.whole_every):
        part = step_losses(model, batch_of(tiny, step), tiny, step)
        sum(part.values()).backward()
        found |= part
    assert set(found) == set(LossWeights.__dataclass_fields__)
    assert all(math.isfinite(value.item()) for value in found.values())
    # the loss at a fixed timestep never leaves a parameter out
    assert [name for name, p in model.named_parameters() if p.grad is None] == []


def test_partial_steps_train_descriptor_only(tiny):
    """Steps between whole steps train the descriptor alone.

    The descriptors are those of the whole pass, and no other module gets a gradient.
    """
    model = SlimeTiny(tiny)
    latents = to_latents(torch.rand(2, 3, 32, 48))
    alone, whole = model.reader.describe(latents, model.null), model.reader(latents, model.null).descriptors
    assert all(torch.equal(one, other) for one, other in zip(alone, whole, strict=True))
    for step in (1, tiny.whole_every + 1):
        found = step_losses(model, batch_of(tiny, step), tiny, step)
        assert set(found) == {"corr", "transfer"}
    sum(found.values()).backward()
    reached = {name.split(".")[1] for name, p in model.named_parameters() if p.grad is not None}
    assert reached == {"time_embedding", "conv_in", "down_blocks"}


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


def test_save_state_is_atomic(tmp_path):
    """Saving leaves no temporary file, and a missing checkpoint is None.

    The checkpoint is renamed into place.
    """
    assert load_state(tmp_path / "state.pt") is None
    save_state(tmp_path / "deep" / "state.pt", {"step": 3})
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["state.pt"]
    assert load_state(tmp_path / "deep" / "state.pt") == {"step": 3}


def test_ema_by_hand():
    """The moving average equals a value worked out by hand.

    At step 0 the decay is 1/10: 0.1 old + 0.9 new.
    """
    layer = torch.nn.Linear(1, 1, bias=False)
    layer.weight.data.fill_(1.0)
    ema = Ema(layer, 0.99)
    layer.weight.data.fill_(2.0)
    ema.update(layer, 0)
    assert ema.values["weight"].item() == pytest.approx(1.9)


def test_learning_rate_schedule():
    """The learning rate rises, stays and falls.

    Warm-up of 10, constant, last fifth falls.
    """
    config = TrainConfig(steps=100, lr=1.0, warmup=10, cooldown=0.2)
    assert learning_rate(config, 0) == pytest.approx(0.1)
    assert learning_rate(config, 50) == pytest.approx(1.0)
    assert learning_rate(config, 90) == pytest.approx(0.5)
    assert learning_rate(config, 99) == pytest.approx(0.05)


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


def test_checkpoint_of_other_seed_refused(tiny):
    """A checkpoint of another seed is refused."""
    run = start_run(tiny)
    state = run.state()
    with pytest.raises(ConfigError, match="of seed 5"):
        run.restore({**state, "seed": 5})


def test_matching_loss_averages_layers(tiny):
    """Every matched layer has its own loss.

    The loss of two descriptors is the mean of theirs.
    """
    batch, random = batch_of(tiny, 0), torch.Generator().manual_seed(0)
    side = batch.rgb.shape[2] // CELL
    one, other = (torch.randn(2 * len(batch.rgb), side**2, 8, generator=random) for _ in range(2))
    places = torch.arange(side**2).expand(len(batch.rgb), 2, -1)

    def loss(*descriptors):
        return torch.stack(list(_matching(list(descriptors), batch, places, (side, side), tiny).values()))

    torch.testing.assert_close(loss(one, other), (loss(one) + loss(other)) / 2)
    assert not torch.allclose(loss(one), loss(other))


def test_dead_worker_raises_error(tiny, monkeypatch):
    """A worker that dies raises an error instead of an endless wait.

    The system may kill it for its memory, and its batch never arrives then.
    """
    monkeypatch.setattr("training.feed._work", _dying)
    with pytest.raises(RuntimeError, match=r"draws pictures died \(status 3\)"):
        next(batches(tiny, 0, worker=True))


def _dying(*_):
    os._exit(3)


def test_sizes_and_counts_must_match():
    """Sizes and counts must have the same length."""
    with pytest.raises(ConfigError, match="as many as sizes"):
        TrainConfig(sizes=(64, 64, 64), counts=(1, 1))


def test_start_of_other_width_refused(tiny):
    """Starting from a network of another width is refused."""
    shipped = Path(slimecore.__file__).parent / "models" / "slime-tiny"
    with pytest.raises(ConfigError, match="has other channels, cross_dim or layers"):
        start_run(replace(tiny, start=str(shipped), channels=(32, 32, 64)))
