"""Changed copies of checkpoints and random images for the tests of backbones."""

from __future__ import annotations

import shutil

import torch


def random_image(height=64, width=128, batch=1, seed=0):
    """Return a random image (batch, 3, height, width) float32 in [0, 1]."""
    return torch.rand(batch, 3, height, width, generator=torch.Generator().manual_seed(seed))


def changed_copy(sd_folder, tmp_path, change):
    """Copy a checkpoint, apply ``change`` to the copy, and return its path as text."""
    copy = tmp_path / "changed"
    shutil.copytree(sd_folder, copy)
    change(copy)
    return str(copy)
