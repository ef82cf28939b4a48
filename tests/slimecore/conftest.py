"""Backbones of tiny random checkpoints, and a case for faithful mode."""

from __future__ import annotations

import pytest
import torch

from tests.slimecore.faithful_case import PARTS, Case


@pytest.fixture(scope="module")
def backbone(sd_folder):
    """A tiny random network of the SD 1.x or 2.x architecture on the CPU."""
    from slimecore.backbones import ModelSpec
    from slimecore.backbones.stable_diffusion import build

    return build(ModelSpec(name=str(sd_folder)), torch.device("cpu"))


@pytest.fixture(scope="module")
def case(backbone):
    draw = torch.Generator().manual_seed(5)
    clean = backbone.clean_latents(torch.rand(2, 3, 64, 128, generator=draw))
    base = backbone.encode_text("part part part")
    rows = torch.randint(-1, PARTS, (2, 8, 16), generator=draw)
    rows[1][rows[1] == 2] = 1  # a part that one picture lacks
    vectors = base[0, 1:PARTS] + 0.5 * torch.randn(PARTS - 1, base.shape[2], generator=draw)
    return Case(clean, torch.randn(clean.shape, generator=draw), torch.tensor([5, 97]), base, vectors, rows)
