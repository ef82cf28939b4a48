"""Shared fixtures: tiny checkpoints in Stable Diffusion format, built and saved here; small synthetic pictures."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
EXAMPLE = ROOT / "examples" / "walker"


def pytest_configure() -> None:
    torch.set_num_threads(min(2, torch.get_num_threads()))


def _unet(cross_dim: int, heads: int | tuple[int, ...], linear: bool, prediction_upcast: bool):  # type: ignore[no-untyped-def]
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=8,
        in_channels=4,
        out_channels=4,
        block_out_channels=(16, 32, 32, 32),
        layers_per_block=2,
        down_block_types=("CrossAttnDownBlock2D",) * 3 + ("DownBlock2D",),
        up_block_types=("UpBlock2D",) + ("CrossAttnUpBlock2D",) * 3,
        cross_attention_dim=cross_dim,
        attention_head_dim=heads,
        norm_num_groups=8,
        use_linear_projection=linear,
        upcast_attention=prediction_upcast,
    )


def build_stable_diffusion(folder: Path, kind: str, seed: int = 0) -> Path:
    """Save a tiny random checkpoint of the SD 1.x or 2.x architecture with every part a real one has."""
    from diffusers import AutoencoderKL, DDIMScheduler
    from transformers import CLIPTextConfig, CLIPTextModel

    torch.manual_seed(seed)
    if kind == "1.x":
        unet, dim, prediction = _unet(24, 2, False, False), 24, "epsilon"
    else:
        unet, dim, prediction = _unet(40, (1, 2, 4, 4), True, True), 40, "v_prediction"
    unet.save_pretrained(folder / "unet")
    AutoencoderKL(
        in_channels=3,
        out_channels=3,
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=(8, 8, 16, 16),
        layers_per_block=1,
        latent_channels=4,
        norm_num_groups=4,
        sample_size=64,
    ).save_pretrained(folder / "vae")
    DDIMScheduler(
        beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", prediction_type=prediction
    ).save_pretrained(folder / "scheduler")
    CLIPTextModel(
        CLIPTextConfig(
            vocab_size=8,
            hidden_size=dim,
            intermediate_size=32,
            num_hidden_layers=2,
            num_attention_heads=2,
            max_position_embeddings=77,
            bos_token_id=0,
            eos_token_id=1,
            pad_token_id=1,
        )
    ).save_pretrained(folder / "text_encoder")
    _tokenizer(folder / "tokenizer")
    (folder / "model_index.json").write_text(
        json.dumps(
            {
                "_class_name": "StableDiffusionPipeline",
                "unet": ["diffusers", "UNet2DConditionModel"],
                "vae": ["diffusers", "AutoencoderKL"],
                "scheduler": ["diffusers", "DDIMScheduler"],
                "text_encoder": ["transformers", "CLIPTextModel"],
                "tokenizer": ["transformers", "CLIPTokenizer"],
            }
        )
    )
    return folder


def _tokenizer(folder: Path) -> None:
    folder.mkdir(parents=True)
    vocab = {"<|startoftext|>": 0, "<|endoftext|>": 1, "p": 2, "part</w>": 3, "a</w>": 4, "a": 5, "r": 6, "t</w>": 7}
    (folder / "vocab.json").write_text(json.dumps(vocab))
    (folder / "merges.txt").write_text("#version: 0.2\n")
    (folder / "tokenizer_config.json").write_text(
        json.dumps(
            {
                "tokenizer_class": "CLIPTokenizer",
                "model_max_length": 77,
                "bos_token": "<|startoftext|>",
                "eos_token": "<|endoftext|>",
                "unk_token": "<|endoftext|>",
                "pad_token": "<|endoftext|>",
            }
        )
    )


@pytest.fixture(scope="session", params=["1.x", "2.x"])
def sd_folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_stable_diffusion(tmp_path_factory.mktemp(f"sd-{request.param}"), request.param)


@pytest.fixture(scope="session")
def tiny():  # type: ignore[no-untyped-def]
    """The embedded default on the CPU, loaded once."""
    from slimecore.backbones import ModelSpec
    from slimecore.backbones.stable_diffusion import build

    return build(ModelSpec(), torch.device("cpu"))


@pytest.fixture
def two_tone() -> tuple[np.ndarray, np.ndarray]:
    """A textured orange disc on a textured blue ground: picture (96, 128, 3) uint8 and its mask 0/1."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:96, :128]
    mask = ((y - 48) ** 2 + (x - 60) ** 2 < 26**2).astype(np.uint8)
    ground = np.array([40, 70, 160]) + 20 * np.sin(x / 5)[..., None]
    disc = np.array([220, 120, 30]) + 20 * np.sin((x + y) / 4)[..., None]
    rgb = np.where(mask[..., None] > 0, disc, ground) + rng.normal(0, 4, (96, 128, 3))
    return rgb.clip(0, 255).astype(np.uint8), mask
