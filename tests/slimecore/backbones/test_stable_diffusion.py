"""The Stable Diffusion backbone on tiny checkpoints of both architectures and on slime-tiny."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from slimecore.attention.cross_attention import attend_self, cross_logits, part_probabilities
from slimecore.backbones import ModelSpec
from slimecore.backbones.checkpoint_files import locate
from slimecore.backbones.stable_diffusion import build
from slimecore.errors import InputError, ModelError
from tests.slimecore.backbones.checkpoints import changed_copy, random_image

CPU = torch.device("cpu")


def attention_probabilities(backbone, latent, path, kind, prompt):
    """Naive capture: replace one layer's processor by one that materialises softmax(q kT / sqrt(d))."""
    kept = {}

    class Materialise:
        def __call__(self, attn, hidden_states, encoder_hidden_states=None, **_):
            context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
            split = lambda t: t.unflatten(-1, (attn.heads, -1)).transpose(1, 2)  # noqa: E731
            q, k, v = split(attn.to_q(hidden_states)), split(attn.to_k(context)), split(attn.to_v(context))
            scores = q @ k.transpose(-1, -2) / q.shape[-1] ** 0.5
            kept["scores"], kept["k"] = scores, k
            out = (scores.softmax(-1) @ v).transpose(1, 2).flatten(2)
            return attn.to_out[1](attn.to_out[0](out)) / attn.rescale_output_factor

    module = backbone.unet.get_submodule(f"{path}.transformer_blocks.0.{kind}")
    before = module.processor
    module.set_processor(Materialise())
    try:
        with torch.no_grad():
            backbone.unet(latent, backbone.readout.timestep, encoder_hidden_states=prompt)
    finally:
        module.set_processor(before)
    return kept["scores"]


def test_cross_logits_match_materialised_scores(backbone):
    """Cross-attention logits equal materialised attention scores.

    Mean over heads of raw scores for the neutral prompt's own tokens, in every layer.
    """
    rgb = random_image()
    features = backbone.encode(rgb)
    keys = backbone.token_keys(backbone.null_prompt[0])
    for i, path in enumerate(backbone.readout.cross):
        scores = attention_probabilities(backbone, backbone.latents(rgb), path, "attn2", backbone.null_prompt)
        only = torch.zeros(backbone.cross_layers)
        only[i] = 1.0
        layer = features.cross[i]
        ours = cross_logits(features, keys, only, layer.grid)
        expected = scores.mean(1).transpose(1, 2).unflatten(-1, layer.grid)
        torch.testing.assert_close(ours, expected, rtol=1e-4, atol=1e-5)


def test_was_matches_materialised_self_attention(backbone):
    """WAS equals the product with the materialised self-attention map.

    SLiMe: A = mean over heads and layers of softmax scores, WAS = A @ F on the key axis.
    """
    rgb = random_image(seed=1)
    features = backbone.encode(rgb)
    height, width = features.grid
    evidence = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(0))
    maps = [
        attention_probabilities(backbone, backbone.latents(rgb), path, "attn1", backbone.null_prompt)
        .softmax(-1)
        .mean(1)
        for path in backbone.readout.self_layers
    ]
    mean = torch.stack(maps).mean(0)
    expected = (mean @ evidence.flatten(2).transpose(1, 2)).transpose(1, 2).unflatten(-1, (height, width))
    torch.testing.assert_close(attend_self(features, evidence), expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(attend_self(features, evidence, chunk=7), expected, rtol=1e-4, atol=1e-5)


def test_encode_batch_matches_single_images(backbone):
    """Encoding a batch gives the same features as encoding its images alone."""
    rgb = random_image(batch=3)
    together = backbone.encode(rgb)
    alone = backbone.encode(rgb[1:2])
    torch.testing.assert_close(together.descriptor[1:2], alone.descriptor, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together.cross[0].query[1:2], alone.cross[0].query, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(together.self_layers[2].key[1:2], alone.self_layers[2].key, rtol=1e-4, atol=1e-4)


def test_encoding_deterministic_and_seeded(sd_folder, backbone):
    """Encoding is deterministic and depends on the seed."""
    rgb = random_image()
    again = build(ModelSpec(name=str(sd_folder)), CPU)
    other = build(ModelSpec(name=str(sd_folder)), CPU, seed=1)
    assert torch.equal(again.encode(rgb).descriptor, backbone.encode(rgb).descriptor)
    assert not torch.equal(other.encode(rgb).descriptor, backbone.encode(rgb).descriptor)


def test_encoding_stops_early_without_hooks(backbone, monkeypatch):
    """The pass ends at the last requested layer and leaves no hook."""
    reached = []
    handle = backbone.unet.conv_out.register_forward_hook(lambda *_: reached.append(1))
    backbone.encode(random_image())
    handle.remove()
    assert not reached
    assert not any(m._forward_hooks for m in backbone.unet.modules())


def test_describe_matches_encode_and_stops_early(tiny):
    """Describing gives the descriptor of encoding and runs no further."""
    rgb = torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    ran = []
    handle = tiny.unet.mid_block.register_forward_hook(lambda *_: ran.append(1))
    try:
        described = tiny.describe(rgb)
        assert not ran
        assert torch.equal(described, tiny.encode(rgb).descriptor)
        assert ran
    finally:
        handle.remove()


def test_shared_model_is_thread_safe(tiny):
    """Threads that share a model do not disturb each other.

    Hooks belong to the module: an encoding beside a describing pass must see its own tensors, and all of them.
    """
    from concurrent.futures import ThreadPoolExecutor

    pictures = [torch.rand(1, 3, 64, 96, generator=torch.Generator().manual_seed(i)) for i in range(8)]
    alone = [tiny.encode(rgb).descriptor for rgb in pictures]
    with ThreadPoolExecutor(2) as pool:
        encoded = [pool.submit(tiny.encode, rgb) for rgb in pictures]
        described = [pool.submit(tiny.describe, rgb) for rgb in pictures]
        for expected, one, other in zip(alone, encoded, described, strict=True):
            torch.testing.assert_close(one.result().descriptor, expected)
            torch.testing.assert_close(other.result(), expected)


def test_token_keys_pass_gradients(backbone):
    """Token keys pass gradients."""
    vectors = backbone.null_prompt[0, :4].clone().requires_grad_()
    features = backbone.encode(random_image())
    weights = torch.full((backbone.cross_layers,), 1 / backbone.cross_layers)
    probabilities = part_probabilities(cross_logits(features, backbone.token_keys(vectors), weights, features.grid), 2)
    torch.testing.assert_close(probabilities.sum(1), torch.ones(1, *features.grid))
    probabilities[:, 1].sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.abs().sum() > 0


def test_equal_tokens_match_single_token(backbone):
    """The log-sum-exp of equal tokens is the paper's single token."""
    features = backbone.encode(random_image())
    weights = torch.full((backbone.cross_layers,), 1 / backbone.cross_layers)
    one = backbone.null_prompt[0, [0, 5]]
    many = one.repeat_interleave(3, 0)
    single = part_probabilities(cross_logits(features, backbone.token_keys(one), weights, features.grid), 2)
    triple = part_probabilities(cross_logits(features, backbone.token_keys(many), weights, features.grid), 2)
    torch.testing.assert_close(single, triple)


def test_size_not_multiple_refused(backbone):
    """Image sizes that are no multiple of 64 are refused."""
    with pytest.raises(InputError, match="multiples of 64"):
        backbone.encode(random_image(64, 100))


def test_slime_tiny_uses_same_loader(tiny):
    """The embedded checkpoint slime-tiny is loaded by the same code as any other."""
    assert tiny.name == "slime-tiny"
    features = tiny.encode(random_image(64, 96))
    assert features.grid == (8, 12)
    norms = features.descriptor.norm(dim=1)
    torch.testing.assert_close(norms, torch.ones_like(norms))


def test_copied_checkpoint_keeps_revision_and_features(tiny, tmp_path):
    """The embedded checkpoint is an ordinary folder.

    A copy under another name loads by path, with the same identity and the same features.
    """
    copy = tmp_path / "copy"
    shutil.copytree(locate("slime-tiny"), copy)
    other = build(ModelSpec(name=str(copy)), CPU)
    assert other.revision == tiny.revision
    rgb = random_image(64, 64)
    assert torch.equal(other.encode(rgb).descriptor, tiny.encode(rgb).descriptor)


def test_half_precision_changes_little(tiny):
    """Half precision changes descriptors little."""
    rgb = random_image(64, 64)
    half = build(ModelSpec(dtype="bfloat16"), CPU).encode(rgb).descriptor
    cosine = (half * tiny.encode(rgb).descriptor).sum(1)
    assert cosine.mean() > 0.98


def test_multi_layer_descriptor_matches_naive(sd_folder, tmp_path):
    """A descriptor of several layers equals its naive implementation.

    Each layer is averaged to the coarsest grid cell by cell, normalised to unit length and concatenated. Rows of
    attention are layers, too.
    """
    layers = ["up_blocks.1", "down_blocks.0.resnets.0", "mid_block.attentions.0.transformer_blocks.0.attn1.to_q"]
    text = json.dumps({"cross": [], "self": [], "descriptor": layers, "timestep": 1, "noise": False})
    model = build(
        ModelSpec(name=changed_copy(sd_folder, tmp_path, lambda f: (f / "readout.json").write_text(text))), CPU
    )
    seen, rgb = {}, random_image()
    found = model.describe(rgb)[0]
    for name in layers:
        module = model.unet.get_submodule(name)
        module.register_forward_hook(lambda _m, _i, out, name=name: seen.update({name: out[0]}))
    with torch.no_grad():
        model.unet(model.latents(rgb), 1, encoder_hidden_states=model.null_prompt)
    height, width = found.shape[1:]
    seen[layers[2]] = seen[layers[2]].T.reshape(-1, height, width)
    assert seen[layers[1]].shape[1] > height, "one layer at least is pooled"
    for y, x in ((0, 0), (height - 1, width - 2)):
        units = []
        for name in layers:
            high, wide = seen[name].shape[1] // height, seen[name].shape[2] // width
            block = seen[name][:, y * high : (y + 1) * high, x * wide : (x + 1) * wide]
            mean = block.flatten(1).mean(1)
            units.append(mean / mean.norm())
        torch.testing.assert_close(found[:, y, x], torch.cat(units) / 3**0.5, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(model.encode(rgb).descriptor[0], found)


def test_descriptor_without_map_refused(sd_folder, tmp_path):
    """A descriptor layer that gives no map is refused in a single clear line."""
    text = json.dumps({"cross": [], "self": [], "descriptor": "time_embedding", "timestep": 1, "noise": False})
    model = build(
        ModelSpec(name=changed_copy(sd_folder, tmp_path, lambda f: (f / "readout.json").write_text(text))), CPU
    )
    with pytest.raises(ModelError, match=r"'time_embedding' is no map"):
        model.describe(random_image())


def test_timestep_out_of_range_refused(sd_folder):
    """A timestep out of range is refused."""
    with pytest.raises(InputError, match="timestep 5000"):
        build(ModelSpec(name=str(sd_folder), timestep=5000), CPU)


def test_inpainting_and_sdxl_refused(sd_folder, tmp_path):
    """Checkpoints of other kinds are refused.

    Inpainting has nine channels, SDXL takes an image's size beside the prompt.
    """
    from diffusers import UNet2DConditionModel

    folder = tmp_path / "other"
    shutil.copytree(sd_folder, folder)
    config = dict(UNet2DConditionModel.load_config(folder / "unet"))
    UNet2DConditionModel.from_config({**config, "in_channels": 9}).save_pretrained(folder / "unet")
    with pytest.raises(ModelError, match=r"takes 9 channels and the codec gives 4, as for inpainting"):
        build(ModelSpec(name=str(folder)), CPU)
    size = {
        "addition_embed_type": "text_time",
        "addition_time_embed_dim": 8,
        "projection_class_embeddings_input_dim": 72,
    }
    UNet2DConditionModel.from_config({**config, **size}).save_pretrained(folder / "unet")
    with pytest.raises(ModelError, match="asks for more than a prompt, as SDXL's"):
        build(ModelSpec(name=str(folder)), CPU)
