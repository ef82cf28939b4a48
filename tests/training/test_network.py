"""The network's reader."""

import torch

from training.network import Reader, build_unet, to_latents


def test_reader_stops_early(tiny):
    """The reader stops early and gives the grids.

    Coarse queries at 1/16, the rest at 1/8. Neither the attention there nor the last up block runs.
    """
    unet = build_unet(tiny.channels, tiny.cross_dim)
    ran = []
    for module in (unet.up_blocks[2], unet.up_blocks[1].attentions[0].transformer_blocks[0].attn1.to_v):
        module.register_forward_hook(lambda *_: ran.append(1))
    out = Reader(unet)(to_latents(torch.rand(2, 3, 32, 48)), torch.zeros(1, 8, tiny.cross_dim))
    assert [tuple(q.shape) for q in out.cross] == [(2, 1, 6, 32)]
    assert out.self_q.shape == out.self_k.shape == (2, 1, 24, 32)
    assert [tuple(d.shape) for d in out.descriptors] == [(2, 24, 32)]
    assert not ran
