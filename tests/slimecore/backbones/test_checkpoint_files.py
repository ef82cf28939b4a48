"""Finding checkpoints: embedded models, folders, the Hub's cache and its network."""

from __future__ import annotations

import shutil

import pytest

from slimecore.backbones.checkpoint_files import fingerprint, locate
from slimecore.errors import ModelError


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
