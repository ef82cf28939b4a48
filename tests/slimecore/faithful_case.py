"""A case of two images for tests of faithful mode, and a comparison relative to the largest entry."""

from __future__ import annotations

import dataclasses

import torch

from tests.slimecore import naive_slime as naive

PARTS = 3


@dataclasses.dataclass(frozen=True)
class Case:
    """Two pictures at two timesteps, a prompt with learned vectors, and their mask with ignored pixels."""

    clean: torch.Tensor
    noise: torch.Tensor
    steps: torch.Tensor
    base: torch.Tensor
    vectors: torch.Tensor
    rows: torch.Tensor

    def prompt(self):
        return naive.naive_prompt(self.base, self.vectors)[0]


def close(ours, truth, tolerance=1e-5):
    """Largest difference as a share of the largest entry."""
    assert ours.shape == truth.shape
    scale = truth.abs().max().clamp(min=1e-12)
    assert float((ours - truth).abs().max() / scale) < tolerance
