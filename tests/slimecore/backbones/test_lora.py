"""LoRA weights applied to a UNet."""

from __future__ import annotations

import pytest
import torch

from slimecore.backbones.lora import lora_applied
from slimecore.errors import ArtifactError
from tests.slimecore.faithful_case import close


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
