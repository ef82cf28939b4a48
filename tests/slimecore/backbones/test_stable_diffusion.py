"""The Stable Diffusion road: tiny checkpoints of both architectures, and our own, down the same path."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from slimecore.attention.cross_attention import attend_self, cross_logits, part_probabilities
from slimecore.backbones import ModelSpec
from slimecore.backbones.checkpoint_files import fingerprint, locate
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


def test_published_layers_chosen_for_sd(backbone):
    """The published layers are chosen for the Stable Diffusion architectures."""
    assert backbone.readout.cross == (
        *(f"up_blocks.1.attentions.{i}" for i in range(3)),
        *(f"up_blocks.2.attentions.{i}" for i in range(2)),
    )
    assert backbone.readout.self_layers == tuple(f"up_blocks.3.attentions.{i}" for i in range(3))
    assert backbone.readout.timestep == 100


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


def test_fingerprint_follows_weights(sd_folder, tmp_path):
    """The fingerprint follows the weights."""
    copy = tmp_path / "copy"
    shutil.copytree(sd_folder, copy)
    assert fingerprint(copy) == fingerprint(sd_folder)
    weights = copy / "unet" / "diffusion_pytorch_model.safetensors"
    raw = bytearray(weights.read_bytes())
    raw[-1] ^= 1
    weights.write_bytes(raw)
    assert fingerprint(copy) != fingerprint(sd_folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda f: shutil.rmtree(f / "unet"), "not a Stable Diffusion folder"),
        (lambda f: shutil.rmtree(f / "vae"), r"vae/config.json is missing"),
        (lambda f: shutil.rmtree(f / "scheduler"), r"scheduler_config.json is missing"),
        (lambda f: shutil.rmtree(f / "text_encoder"), "cannot load text_encoder"),
        (lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").write_bytes(b"\0" * 99), "unet"),
        (lambda f: (f / "unet" / "diffusion_pytorch_model.safetensors").unlink(), "cannot load unet"),
        (lambda f: (f / "unet" / "config.json").write_text("{"), "unet"),
        (lambda f: (f / "vae" / "config.json").write_text('{"_class_name": "os.system"}'), "unknown codec 'os.system'"),
        (lambda f: (f / "readout.json").write_text("{}"), "readout.json"),
    ],
)
def test_broken_folder_error_single_line(sd_folder, tmp_path, change, message):
    """A broken folder is refused in a single clear line."""
    with pytest.raises(ModelError, match=message) as caught:
        build(ModelSpec(name=changed_copy(sd_folder, tmp_path, change)), CPU)
    assert "\n" not in str(caught.value)


def test_readout_with_missing_layer_refused(sd_folder, tmp_path):
    """A read-out that names a missing layer is refused."""
    readout = {"cross": ["up_blocks.9.x"], "self": [], "descriptor": "up_blocks.1", "timestep": 1, "noise": False}
    name = changed_copy(sd_folder, tmp_path, lambda f: (f / "readout.json").write_text(json.dumps(readout)))
    with pytest.raises(ModelError, match=r"no layer 'up_blocks.9.x'"):
        build(ModelSpec(name=name), CPU)


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


@pytest.mark.parametrize("value", [[], 3])
def test_readout_without_descriptor_refused(sd_folder, tmp_path, value):
    """A read-out without a descriptor is refused."""
    text = json.dumps({"cross": [], "self": [], "descriptor": value, "timestep": 1, "noise": False})
    with pytest.raises(ModelError, match=r"readout.json"):
        build(ModelSpec(name=changed_copy(sd_folder, tmp_path, lambda f: (f / "readout.json").write_text(text))), CPU)


def test_descriptor_without_map_refused(sd_folder, tmp_path):
    """A descriptor layer that gives no map is refused in a single clear line."""
    text = json.dumps({"cross": [], "self": [], "descriptor": "time_embedding", "timestep": 1, "noise": False})
    model = build(
        ModelSpec(name=changed_copy(sd_folder, tmp_path, lambda f: (f / "readout.json").write_text(text))), CPU
    )
    with pytest.raises(ModelError, match=r"'time_embedding' is no map"):
        model.describe(random_image())


def test_unknown_model_lists_known_names():
    """An unknown model name lists the known names."""
    with pytest.raises(ModelError, match="slime-tiny"):
        locate("slime-tinny")


def test_offline_hub_error_names_remedy(monkeypatch, tmp_path):
    """A Hub id without network gives an error that says how to proceed."""
    import huggingface_hub
    from huggingface_hub.errors import LocalEntryNotFoundError

    def offline(*_args, **_kwargs):
        raise LocalEntryNotFoundError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    with pytest.raises(ModelError, match=r"connect once.*slime-tiny") as caught:
        locate("someone/some-model")
    assert "\n" not in str(caught.value)


def test_cached_hub_model_needs_no_network(monkeypatch, sd_folder):
    """A Hub id in the local cache needs no network."""
    import huggingface_hub

    asked = []

    def cached(name, **kwargs):
        asked.append(kwargs["local_files_only"])
        return str(sd_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    assert locate("someone/some-model") == sd_folder
    assert asked == [True]


def test_timestep_out_of_range_refused(sd_folder):
    """A timestep out of range is refused."""
    with pytest.raises(InputError, match="timestep 5000"):
        build(ModelSpec(name=str(sd_folder), timestep=5000), CPU)


def test_part_logit_is_logsumexp_of_tokens():
    """The logit of a part is the log-sum-exp of its tokens."""
    logits = torch.tensor([[2.0, 0.0, 1.0, 1.0]]).reshape(1, 4, 1, 1)
    first = torch.tensor([2.0, 0.0]).logsumexp(0)
    second = torch.tensor([1.0, 1.0]).logsumexp(0)
    expected = torch.stack([first, second]).softmax(0)
    torch.testing.assert_close(part_probabilities(logits, 2)[0, :, 0, 0], expected)
    assert expected[0] > 0.55, "a mean over tokens would give one half"


def test_cached_model_lacking_variant_not_used(monkeypatch, sd_folder):
    """A cached copy without the requested variant is not used."""
    import huggingface_hub

    asked = []

    def cached(name, **kwargs):
        asked.append(kwargs["local_files_only"])
        return str(sd_folder)  # holds the plain weights, no fp16 ones

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cached)
    with pytest.raises(ModelError, match="not in the local Hub cache"):
        locate("someone/some-model", variant="fp16")
    assert asked == [True, False], "the network is tried when the cache is incomplete"


def test_missing_variant_error_single_line():
    """A missing variant is refused in a single line."""
    with pytest.raises(ModelError, match=r"no safetensors weights of variant 'bf16'"):
        build(ModelSpec(variant="bf16"), CPU)


@pytest.fixture
def altered(sd_folder, tmp_path):
    """A copy of a checkpoint, and what changes the tensors of one of its files."""
    from safetensors.torch import load_file, save_file

    folder = tmp_path / "copy"
    shutil.copytree(sd_folder, folder)

    def change(part, how):
        (file,) = (folder / part).glob("*.safetensors")
        save_file({new: value for name, value in load_file(file).items() if (new := how(name))}, file)
        return folder

    return change


@pytest.mark.parametrize(
    ("part", "how"),
    [
        ("unet", lambda name: None if name.endswith("attn1.to_q.weight") else name),
        ("unet", lambda name: f"unet.{name}"),
        ("vae", lambda name: None if name == "encoder.conv_in.weight" else name),
        ("text_encoder", lambda name: None if name.endswith("final_layer_norm.weight") else name),
    ],
    ids=["a weight gone", "renamed", "of the codec", "of the text encoder"],
)
def test_missing_weights_refused(altered, part, how, capfd):
    """Missing weights are refused and never initialised at random."""
    folder = altered(part, how)
    with pytest.raises(ModelError, match=f"{part} has no .*; give a complete checkpoint") as caught:
        build(ModelSpec(name=str(folder)), CPU)
    assert "\n" not in str(caught.value)
    told = capfd.readouterr()
    assert "MISSING" not in told.err + told.out
    assert "newly initialized" not in told.err + told.out


def test_vae_decoder_not_needed(altered):
    """The decoder of the VAE is not needed."""
    folder = altered("vae", lambda name: None if name.startswith(("decoder.", "post_quant_conv.")) else name)
    assert build(ModelSpec(name=str(folder)), CPU).revision


@pytest.mark.parametrize(
    "gone", ["vae/diffusion_pytorch_model.safetensors", "text_encoder/model.safetensors", "tokenizer", "a shard"]
)
def test_incomplete_download_completed(monkeypatch, sd_folder, tmp_path, gone):
    """An interrupted download is completed."""
    import huggingface_hub

    cut = tmp_path / "cut"
    shutil.copytree(sd_folder, cut)
    if gone == "tokenizer":
        shutil.rmtree(cut / gone)
    elif gone == "a shard":
        whole = cut / "unet" / "diffusion_pytorch_model.safetensors"
        whole.rename(whole.with_name("diffusion_pytorch_model-00001-of-00002.safetensors"))
    else:
        (cut / gone).unlink()
    asked = []

    def download(name, **kwargs):
        asked.append(kwargs["local_files_only"])
        return str(cut if asked[-1] else sd_folder)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    assert locate("someone/some-model") == sd_folder
    assert asked == [True, False]


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
