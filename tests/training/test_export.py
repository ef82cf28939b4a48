"""The exported folder: complete, half precision, loadable by diffusers, replaced as a whole."""

import json
from dataclasses import replace

import torch
from safetensors.torch import load_file

from training.encoder import load_model
from training.export import FILES, export
from training.network import readout
from training.train import start_run


def test_export_writes_exactly_listed_files(exported):
    """The export writes all files and nothing else.

    The folder holds ``FILES``, and no temporary folder stays beside it.
    """
    assert sorted(str(p.relative_to(exported)) for p in exported.rglob("*") if p.is_file()) == sorted(FILES)
    assert [p.name for p in exported.parent.iterdir()] == ["slime-tiny"]


def test_export_half_precision_and_prompt_shape(exported, tiny):
    """The export has half precision and the expected prompt shape.

    Weights are fp16, and the prompt is (1, 8, cross_dim).
    """
    weights = load_file(exported / "unet" / "diffusion_pytorch_model.safetensors")
    assert {value.dtype for value in weights.values()} == {torch.float16}
    assert load_file(exported / "null_prompt.safetensors")["embeddings"].shape == (1, 8, tiny.cross_dim)


def test_model_index_names_classes(exported):
    """The model index names the classes.

    The loader finds UNet, codec and scheduler.
    """
    index = json.loads((exported / "model_index.json").read_text())
    assert index["unet"] == ["diffusers", "UNet2DConditionModel"]
    assert index["vae"] == ["slimecore", "SpaceToDepthCodec"]
    assert json.loads((exported / "vae" / "config.json").read_text())["block_size"] == 4
    assert json.loads((exported / "readout.json").read_text()) == readout()
    assert (
        json.loads((exported / "scheduler" / "scheduler_config.json").read_text())["prediction_type"] == "v_prediction"
    )


def test_exported_weights_are_averaged(exported, tiny):
    """The exported weights are the averaged weights.

    The weights that diffusers loads equal the run's averaged weights to half precision.
    """
    unet, _, prompt = load_model(exported)
    run = start_run(tiny)
    expected = run.ema.values["unet.conv_in.weight"].half().float()
    assert torch.equal(unet.conv_in.weight.detach(), expected)
    assert torch.equal(prompt, run.ema.values["null"].half().float())


def test_export_replaces_old_folder(tiny, tmp_path):
    """The export replaces the old folder.

    A file of an older export does not survive.
    """
    out = tmp_path / "model"
    out.mkdir()
    (out / "stale.txt").write_text("old")
    export(start_run(tiny), tiny, out)
    assert not (out / "stale.txt").exists()
    assert [p.name for p in tmp_path.iterdir()] == ["model"]


def test_export_mixes_in_start_weights(exported, tiny, tmp_path):
    """Half of the start weights may be kept.

    The exported weights lie half way between those of the start and the run's, the prompt's too.
    """
    config = replace(tiny, start=str(exported), keep=0.5)
    run = start_run(config)
    for value in run.ema.values.values():
        value.add_(1.0)
    export(run, config, tmp_path / "mixed")
    (unet, _, prompt), (start, _, old) = load_model(tmp_path / "mixed"), load_model(exported)
    torch.testing.assert_close(unet.conv_in.weight, start.conv_in.weight + 0.5, atol=1e-3, rtol=0)
    torch.testing.assert_close(prompt, old + 0.5, atol=1e-3, rtol=0)
    assert "50% are kept" in (tmp_path / "mixed" / "README.md").read_text()
