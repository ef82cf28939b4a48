"""Evaluation arithmetic: matching accuracy and label propagation on cases with a known answer."""

import numpy as np
import pytest
import torch

from training.davis import Settings, propagate, transfer
from training.encoder import lab_patches
from training.evaluate import pck


def test_pck_by_hand():
    """One of two visible cells is matched within a cell of the truth; a hidden one does not count."""
    similarity = torch.eye(4)[None, :3]
    positions = torch.tensor([[[4.0, 4.0], [4.0, 12.0], [100.0, 100.0]]])
    visible = torch.tensor([[True, True, False]])
    assert pck(similarity, positions, visible, width=2, within=1.0) == pytest.approx(0.5)


def test_transfer_takes_the_best_match_and_respects_the_window():
    """The reference is searched everywhere, a recent frame only where allowed."""
    settings = Settings(k=1, tau=0.07)
    query, keys = torch.eye(3)[:1], torch.eye(3)
    nowhere = torch.zeros(1, 3, dtype=torch.bool)
    values = [torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 0.0, 0.0])]
    assert transfer(query, [keys, keys], values, nowhere, settings).tolist() == [1.0]
    everywhere, values = ~nowhere, [torch.zeros(3), torch.tensor([1.0, 0.0, 0.0])]
    assert transfer(query, [keys[1:].repeat(2, 1)[:3], keys], values, everywhere, settings).tolist() == [1.0]


def test_colour_follows_a_moving_square():
    """A red square on green ground that moves by 16 pixels per frame is found again."""
    frames, masks = [], []
    for step in range(3):
        frame = np.zeros((128, 128, 3), np.uint8)
        frame[..., 1] = 160
        mask = np.zeros((128, 128), bool)
        mask[32:80, 16 + 16 * step : 64 + 16 * step] = True
        frame[mask] = (200, 30, 30)
        frames.append(frame)
        masks.append(mask)
    found = propagate(frames, masks[0], lab_patches, Settings(short_side=128, radius=6, tau=0.01))
    for got, truth in zip(found, masks[1:], strict=True):
        assert (got & truth).sum() / (got | truth).sum() > 0.8
