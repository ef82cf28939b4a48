"""The lean read-out of a UNet against its materialised naive implementation, SD 1.x and 2.x."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from slimecore.backbones import ModelSpec
from slimecore.backbones.lora import init_lora
from slimecore.backbones.stable_diffusion import build
from slimecore.backbones.unet_readout import UNetReadout
from slimecore.learning.losses import diffusion_loss, published_cross_entropy, was_error
from tests.slimecore import naive_slime as naive
from tests.slimecore.faithful_case import PARTS, close

CPU = torch.device("cpu")


def naive_maps(backbone, case):
    noised = naive.naive_noisy(case.clean, case.noise, backbone.noising.alphas[case.steps])
    prompt = naive.naive_prompt(case.base, case.vectors).expand(2, -1, -1)
    scores, prediction = naive.naive_pass(backbone.unet, noised, case.steps, prompt)
    cross = naive.naive_cross_maps(scores, PARTS, (8, 16), (8, 16))
    return noised, cross, naive.naive_was(naive.naive_self_map(scores), naive.naive_weights(cross)), prediction


def test_maps_and_prediction_match_naive(backbone, case):
    """Maps and prediction equal those of the materialised naive implementation."""
    with torch.no_grad():
        noised, cross, was, prediction = naive_maps(backbone, case)
        with UNetReadout(backbone, PARTS) as reader:
            seen = reader.run(noised, case.steps, case.prompt(), predict=True)
    close(seen.logits, cross)
    close(seen.was, was)
    close(seen.prediction, prediction)
    assert float(was.std()) > 1e-4, "maps that are flat would agree by chance"


@pytest.mark.parametrize("beta", [0.0, 0.005])
@pytest.mark.parametrize("checkpointing", [False, True])
def test_prompt_gradient_matches_naive(backbone, case, beta, checkpointing):
    """The gradient equals that of the naive implementation.

    All three losses, with and without recomputation. Without the diffusion loss the pass ends at the last map.
    """
    truth, losses = naive.naive_gradient(
        backbone.unet,
        case.clean,
        case.noise,
        case.steps,
        case.base,
        case.vectors,
        backbone.null_prompt,
        case.rows,
        backbone.noising.alphas,
        beta=beta,
        prediction=backbone.noising.prediction,
    )
    vectors = case.vectors.clone().requires_grad_()
    noised = backbone.noising.add(case.clean, case.noise, case.steps)
    with torch.no_grad():
        free = backbone.unet(noised, case.steps, encoder_hidden_states=backbone.null_prompt.expand(2, -1, -1)).sample
    if checkpointing:
        backbone.unet.enable_gradient_checkpointing()
    try:
        with UNetReadout(backbone, PARTS) as reader:
            seen = reader.run(noised, case.steps, naive.naive_prompt(case.base, vectors)[0], predict=beta > 0)
            loss = published_cross_entropy(seen.logits, case.rows) + was_error(seen.was, case.rows)
            if beta:
                target = backbone.noising.target(case.clean, case.noise, case.steps)
                loss = loss + beta * diffusion_loss(seen.prediction, free, target, 100.0)
            loss.backward()
    finally:
        backbone.unet.disable_gradient_checkpointing()
    assert (seen.prediction is None) == (beta == 0)
    close(loss.detach(), losses.total)
    close(vectors.grad, truth)


@pytest.mark.parametrize("kind", ["streamed", "after the pass"])
def test_evidence_transform_applied_before_was(backbone, tiny, case, kind):
    """Evidence can be changed before it accumulates.

    SLiMe's cut background: the changed evidence accumulates, and the logits stay the same.
    """
    model = backbone if kind == "streamed" else tiny
    latents = model.clean_latents(torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(0)))
    step, prompt = torch.tensor([model.readout.timestep]), model.null_prompt[0]

    def only_the_last_part(evidence):
        return torch.cat([torch.zeros_like(evidence[:, :-1]), torch.ones_like(evidence[:, -1:])], 1)

    with torch.no_grad():
        with UNetReadout(model, PARTS) as reader:
            plain = reader.run(latents, step, prompt)
        with UNetReadout(model, PARTS, evidence_transform=only_the_last_part) as reader:
            shaped = reader.run(latents, step, prompt)
    assert torch.equal(shaped.logits, plain.logits)
    torch.testing.assert_close(shaped.was[:, -1], torch.ones_like(shaped.was[:, -1]))
    assert float(shaped.was[:, :-1].abs().max()) == 0


def test_readout_batch_matches_single_images(backbone, case):
    """A batch gives the same maps as its images alone."""
    noised = backbone.noising.add(case.clean, case.noise, case.steps)
    with torch.no_grad(), UNetReadout(backbone, PARTS) as reader:
        both = reader.run(noised, case.steps, case.prompt())
        alone = reader.run(noised[1:], case.steps[1:], case.prompt())
    close(both.logits[1:], alone.logits)
    close(both.was[1:], alone.was)


def test_readout_restores_unet(backbone, case):
    """Reading leaves the UNet as it was."""
    before = dict(backbone.unet.attn_processors)
    with pytest.raises(KeyError), UNetReadout(backbone, PARTS, init_lora(backbone.unet, 1, torch.Generator())):
        raise KeyError
    assert backbone.unet.attn_processors == before
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in backbone.unet.modules())


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_maps_close(sd_folder, backbone, case, dtype):
    """Half precision reads nearly the same maps."""
    half = build(ModelSpec(name=str(sd_folder), dtype=dtype), CPU)
    noised = backbone.noising.add(case.clean, case.noise, case.steps)
    with torch.no_grad(), UNetReadout(backbone, PARTS) as full, UNetReadout(half, PARTS) as lean:
        truth = full.run(noised, case.steps, case.prompt())
        ours = lean.run(noised.to(half.null_prompt.dtype), case.steps, case.prompt())
    close(ours.logits, truth.logits, 0.05)
    close(ours.was, truth.was, 0.02)


def test_mixed_block_layers_read_after_pass(tiny):
    """Self- and cross-attention layers of the same block are read after the pass.

    slime-tiny's self-attention runs before the cross-attention of its block, so evidence cannot be streamed.
    """
    latents = tiny.clean_latents(torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(0)))
    step = torch.tensor([tiny.readout.timestep])
    prompt = tiny.null_prompt.clone()
    with torch.no_grad(), UNetReadout(tiny, PARTS) as reader:
        seen = reader.run(latents, step, prompt[0])
    scores, _ = naive.naive_pass(tiny.unet, latents, step, prompt, tiny.readout.cross, tiny.readout.self_layers)
    cross = naive.naive_cross_maps(scores, PARTS, (8, 12), (16, 24))
    close(seen.logits, cross)
    close(seen.was, naive.naive_was(naive.naive_self_map(scores), naive.naive_weights(cross)))


LATE, EARLY = "up_blocks.3.attentions.0", "up_blocks.2.attentions.0"


@pytest.mark.parametrize(
    ("cross", "layers"),
    [
        (("up_blocks.1.attentions.0",), (LATE, EARLY)),
        (("down_blocks.1.attentions.0",), (LATE, "mid_block.attentions.0")),
        (("up_blocks.1.attentions.0",), ("mid_block.attentions.0", LATE)),
    ],
    ids=["late layer first", "down block and mid block", "mid block before cross-attention"],
)
def test_layer_order_does_not_matter(backbone, case, cross, layers):
    """Layers may stand in any order.

    The UNet, not the list, says in which order layers run.
    """
    readout = dataclasses.replace(backbone.readout, cross=cross, self_layers=layers)
    found = []
    for order in (layers, layers[::-1]):
        model = dataclasses.replace(backbone, readout=dataclasses.replace(readout, self_layers=order))
        with torch.no_grad(), UNetReadout(model, PARTS) as reader:
            found.append(reader.run(case.clean, case.steps, case.prompt()))
    torch.testing.assert_close(found[0].logits, found[1].logits)
    torch.testing.assert_close(found[0].was, found[1].was, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[0].was.sum(1), torch.ones_like(found[0].was[:, 0]), rtol=1e-3, atol=1e-3)
