"""Faithful mode against its naive twin, on tiny random UNets of the SD 1.x and 2.x architectures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from slimecore.backbones import ModelSpec
from slimecore.backbones.lora import init_lora, lora_applied
from slimecore.backbones.stable_diffusion import build
from slimecore.backbones.unet_readout import UNetReadout
from slimecore.errors import ArtifactError, ConfigError, InputError
from slimecore.io.masks import annotate
from slimecore.learning.faithful import learn_faithful
from slimecore.learning.faithful_config import AugmentConfig, FaithfulConfig, LoraConfig
from slimecore.learning.losses import diffusion_loss, published_cross_entropy, published_weights, was_error
from slimecore.metrics.davis import region_j
from slimecore.segmentation.part_segmenter import PartSegmenter
from tests.slimecore import naive_slime as naive
from tests.slimecore.faithful_case import PARTS, close

CPU = torch.device("cpu")
QUICK = FaithfulConfig(epochs=4, views=2, validate=2)


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


def test_noise_schedule_matches_forward_diffusion(backbone, case):
    """Noising is the forward diffusion."""
    noised = backbone.noising.add(case.clean, case.noise, case.steps)
    close(noised, naive.naive_noisy(case.clean, case.noise, backbone.noising.alphas[case.steps]), 1e-6)
    target = backbone.noising.target(case.clean, case.noise, case.steps)
    expected = naive.naive_target(
        case.clean, case.noise, backbone.noising.alphas[case.steps], backbone.noising.prediction
    )
    close(target, expected, 1e-6)


def test_published_losses_match_naive(case):
    """The losses equal those of the naive implementation image by image."""
    draw = torch.Generator().manual_seed(1)
    logits = torch.randn(2, PARTS, 8, 16, generator=draw)
    was = logits.softmax(1)
    close(published_weights(case.rows, PARTS)[1].double(), naive.naive_class_weights(case.rows[1], PARTS), 1e-6)
    close(published_cross_entropy(logits, case.rows), naive.naive_cross_entropy(logits, case.rows).mean(), 1e-6)
    close(was_error(was, case.rows), naive.naive_squared(was, case.rows).mean(), 1e-6)
    c, u, target = torch.randn(3, 2, 4, 8, 16, generator=draw)
    close(diffusion_loss(c, u, target, 100.0), naive.naive_tether(c, u, target).mean(), 1e-6)


def test_fully_ignored_image_gives_zero_loss():
    """An image without a labelled pixel gives zero loss."""
    rows = torch.full((1, 4, 4), -1)
    assert float(published_cross_entropy(torch.randn(1, 2, 4, 4), rows)) == 0
    assert float(was_error(torch.rand(1, 2, 4, 4), rows)) == 0


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
        with UNetReadout(model, PARTS, shape=only_the_last_part) as reader:
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


def test_faithful_learning_segments_reference(tiny, two_tone):
    """Learning through the UNet segments the reference image."""
    rgb, mask = two_tone
    config = FaithfulConfig(epochs=20, views=4, validate=5)
    made = learn_faithful(tiny, [annotate(rgb, mask)], config, short_side=96)
    assert made.mode == "faithful"
    assert region_j(PartSegmenter(tiny, made)(rgb).labels.labels, mask) > 0.8


def test_float16_learning_close_to_float32(sd_folder, backbone, two_tone):
    """float16 learns nearly the same embeddings as float32.

    Float32 tokens go through a float16 network, and the loss is scaled on its way back.
    """
    half = build(ModelSpec(name=str(sd_folder), dtype="float16"), CPU)
    config = FaithfulConfig(epochs=6, views=1, lr=0.01, validate=0)
    reference = [annotate(*two_tone)]
    start = backbone.encode_text("part part")[0].numpy()[1]
    moved = [learn_faithful(b, reference, config, short_side=64).prompt[1] - start for b in (backbone, half)]
    assert np.isfinite(moved[1]).all()
    cosine = (moved[0] @ moved[1]) / (np.linalg.norm(moved[0]) * np.linalg.norm(moved[1]))
    assert cosine > 0.9


def test_overflowing_step_skipped(backbone, two_tone):
    """A step that overflows is left out."""
    from slimecore.learning import faithful

    learner = faithful._Learner(backbone, QUICK, backbone.encode_text("part part")[0].float(), 2, 0)
    optimiser = torch.optim.Adam([learner._vectors], lr=0.1)
    before = learner._vectors.detach().clone()
    learner._vectors.grad = torch.full_like(before, torch.inf)
    learner._update(optimiser)
    assert torch.equal(learner._vectors, before)
    assert learner._scale == 0.5


def test_only_part_tokens_learned(backbone, two_tone):
    """Only the rows of the prompt that belong to parts are learned.

    The start token, standing for the background, and the rest of the prompt stay those of the text encoder.
    """
    made = learn_faithful(backbone, [annotate(*two_tone)], QUICK, short_side=64)
    start = backbone.encode_text("part part")[0].numpy()
    changed = np.abs(made.prompt - start).max(1) > 0
    assert changed.nonzero()[0].tolist() == [1]
    assert np.array_equal(made.vectors[:, 0], made.prompt[:2])


def test_equal_seeds_give_equal_prompts(backbone, two_tone):
    """Equal seeds learn bit for bit the same prompt."""
    reference = [annotate(*two_tone)]
    one, two, other = (learn_faithful(backbone, reference, QUICK, short_side=64, seed=s) for s in (7, 7, 8))
    assert np.array_equal(one.prompt, two.prompt)
    assert not np.array_equal(one.prompt, other.prompt)


def test_one_step_per_image(backbone, two_tone):
    """Few-shot learning and batches take one step an image."""
    rgb, mask = two_tone
    seen = []
    config = dataclasses.replace(QUICK, batch=2, draws=1)
    pair = [annotate(rgb, mask), annotate(rgb[:, ::-1], mask[:, ::-1])]
    learn_faithful(backbone, pair, config, short_side=64, progress=lambda *step: seen.append(step))
    assert [step[:2] for step in seen] == [(i, 8) for i in range(1, 9)]


def test_prepared_draws_encoded_once(backbone, two_tone, monkeypatch):
    """Prepared noise draws pass the UNet once.

    Two views, a single draw each: the neutral prompt is run twice, however many epochs run.
    """
    calls = []
    whole = type(backbone.unet).forward

    def counting(self, *arguments, **options):
        calls.append(torch.is_grad_enabled())
        return whole(self, *arguments, **options)

    monkeypatch.setattr(type(backbone.unet), "forward", counting)
    config = FaithfulConfig(epochs=6, views=2, noise_samples=1, validate=0)
    learn_faithful(backbone, [annotate(*two_tone)], config, short_side=64)
    assert calls.count(False) == 2
    assert calls.count(True) == 6


def test_best_validated_state_kept(backbone, two_tone, monkeypatch):
    """The best validated state is kept."""
    from slimecore.learning import faithful

    scores = iter([0.2, 0.9, 0.3])
    monkeypatch.setattr(faithful, "_mean_iou", lambda *_: next(scores))
    config = FaithfulConfig(epochs=3, views=1, validate=1)
    best = learn_faithful(backbone, [annotate(*two_tone)], config, short_side=64)
    two = learn_faithful(
        backbone, [annotate(*two_tone)], dataclasses.replace(config, epochs=2, validate=0), short_side=64
    )
    assert np.array_equal(best.prompt, two.prompt)


def test_lora_starts_neutral_then_learns(backbone, two_tone, case):
    """LoRA weights start as no change and learn later."""
    fresh = init_lora(backbone.unet, 2, torch.Generator().manual_seed(0))
    assert len(fresh) == 2 * 2 * 16, "keys and values of 16 transformer blocks, two factors each"
    noised = backbone.noising.add(case.clean, case.noise, case.steps)
    with torch.no_grad():
        with UNetReadout(backbone, PARTS) as reader:
            plain = reader.run(noised, case.steps, case.prompt())
        with UNetReadout(backbone, PARTS, fresh) as reader:
            same = reader.run(noised, case.steps, case.prompt())
        moved = {name: delta + 0.3 for name, delta in fresh.items()}
        with UNetReadout(backbone, PARTS, moved) as reader:
            other = reader.run(noised, case.steps, case.prompt())
    assert torch.equal(same.logits, plain.logits)
    assert not torch.allclose(other.logits, plain.logits, atol=1e-3)
    config = dataclasses.replace(QUICK, deltas=LoraConfig(rank=2, start=0.5, lr=1e-2), validate=0)
    made = learn_faithful(backbone, [annotate(*two_tone)], config, short_side=64)
    ups = [value for name, value in made.deltas.items() if name.endswith("attn2.to_k.up")]
    assert len(ups) == 16
    assert all(np.abs(value).max() > 0 for value in ups)


def test_lora_equals_changed_weight(backbone):
    """Applying LoRA equals changing the weight."""
    path = "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    module = backbone.unet.get_submodule(path)
    draw = torch.Generator().manual_seed(0)
    down, up = torch.randn(2, module.in_features, generator=draw), torch.randn(module.out_features, 2, generator=draw)
    states = torch.randn(1, 5, module.in_features, generator=draw)
    expected = torch.nn.functional.linear(states, module.weight + up @ down, module.bias)
    with lora_applied(backbone.unet, {f"{path}.down": down, f"{path}.up": up}):
        close(module(states), expected)


def test_lora_of_other_model_refused(backbone):
    """LoRA weights of another model are refused."""
    path = "up_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"
    for deltas in (
        {"nowhere.to_k.down": torch.ones(1, 3), "nowhere.to_k.up": torch.ones(3, 1)},
        {f"{path}.down": torch.ones(1, 3), f"{path}.up": torch.ones(3, 1)},
        {f"{path}.down": torch.ones(1, 24)},
    ):
        with pytest.raises(ArtifactError, match="does not fit this model"), lora_applied(backbone.unet, deltas):
            pass


def test_more_parts_than_tokens_refused(tiny):
    """More parts than the prompt has tokens are refused."""
    mask = np.arange(64 * 64).reshape(64, 64) // 410  # values 0..9, slime-tiny's prompt has 8
    rgb = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(InputError, match=r"9 parts and the background are more than the 8 tokens.*--mode probe"):
        learn_faithful(tiny, [annotate(rgb, mask)], QUICK)


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


LATE, EARLY = "up_blocks.3.attentions.0", "up_blocks.2.attentions.0"


@pytest.mark.parametrize(
    ("cross", "layers"),
    [
        (("up_blocks.1.attentions.0",), (LATE, EARLY)),
        (("down_blocks.1.attentions.0",), (LATE, "mid_block.attentions.0")),
        (("up_blocks.1.attentions.0",), ("mid_block.attentions.0", LATE)),
    ],
    ids=["late before early", "down, then the middle", "the middle before the cross-attention"],
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
