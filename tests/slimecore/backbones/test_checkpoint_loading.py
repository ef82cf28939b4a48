"""Loading checkpoints: read-outs, and refusals of incomplete folders in a single line."""

from __future__ import annotations

import json
import shutil

import pytest
import torch

from slimecore.backbones import ModelSpec
from slimecore.backbones.stable_diffusion import build
from slimecore.errors import ModelError
from tests.slimecore.backbones.checkpoints import changed_copy

CPU = torch.device("cpu")


def test_published_layers_chosen_for_sd(backbone):
    """The published layers are chosen for the Stable Diffusion architectures."""
    assert backbone.readout.cross == (
        *(f"up_blocks.1.attentions.{i}" for i in range(3)),
        *(f"up_blocks.2.attentions.{i}" for i in range(2)),
    )
    assert backbone.readout.self_layers == tuple(f"up_blocks.3.attentions.{i}" for i in range(3))
    assert backbone.readout.timestep == 100


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


@pytest.mark.parametrize("value", [[], 3])
def test_readout_without_descriptor_refused(sd_folder, tmp_path, value):
    """A read-out without a descriptor is refused."""
    text = json.dumps({"cross": [], "self": [], "descriptor": value, "timestep": 1, "noise": False})
    with pytest.raises(ModelError, match=r"readout.json"):
        build(ModelSpec(name=changed_copy(sd_folder, tmp_path, lambda f: (f / "readout.json").write_text(text))), CPU)


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
    ids=["UNet weight missing", "UNet weights renamed", "codec weight missing", "text encoder weight missing"],
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
