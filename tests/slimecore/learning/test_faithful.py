"""Learning by faithful mode on tiny random UNets of the SD 1.x and 2.x architectures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from slimecore.backbones import ModelSpec
from slimecore.backbones.lora import init_lora
from slimecore.backbones.stable_diffusion import build
from slimecore.backbones.unet_readout import UNetReadout
from slimecore.errors import InputError
from slimecore.io.masks import annotate
from slimecore.learning.faithful import learn_faithful
from slimecore.learning.faithful_config import FaithfulConfig, LoraConfig
from slimecore.metrics.davis import region_j
from slimecore.segmentation.part_segmenter import PartSegmenter
from tests.slimecore.faithful_case import PARTS

CPU = torch.device("cpu")
QUICK = FaithfulConfig(epochs=4, views=2, validate=2)


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
    config = dataclasses.replace(QUICK, batch=2, noise_samples=1)
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
    config = dataclasses.replace(QUICK, lora=LoraConfig(rank=2, start=0.5, lr=1e-2), validate=0)
    made = learn_faithful(backbone, [annotate(*two_tone)], config, short_side=64)
    ups = [value for name, value in made.deltas.items() if name.endswith("attn2.to_k.up")]
    assert len(ups) == 16
    assert all(np.abs(value).max() > 0 for value in ups)


def test_more_parts_than_tokens_refused(tiny):
    """More parts than the prompt has tokens are refused."""
    mask = np.arange(64 * 64).reshape(64, 64) // 410  # values 0..9, slime-tiny's prompt has 8
    rgb = np.zeros((64, 64, 3), np.uint8)
    with pytest.raises(InputError, match=r"9 parts and the background are more than the 8 tokens.*--mode probe"):
        learn_faithful(tiny, [annotate(rgb, mask)], QUICK)
