"""Losses of a training step and their gradients."""

import math

import torch

from training.config import LossWeights
from training.feed import batch_of
from training.model import SlimeTiny, _matching, step_losses
from training.network import to_latents
from training.pairs import CELL


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
