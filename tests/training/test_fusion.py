"""Fitting the fusion's weights: the search finds a known optimum and keeps weights not worth changing."""

from __future__ import annotations

import math

import torch

from slimevid.config import RunConfig
from training.fusion import Recall, draw_clips, fit


def test_fit_changes_only_better_weights():
    """The search finds weights that score more and leaves the others."""

    def measure(config):
        return (
            90
            - 5 * math.log(config.fusion.flow_weight / 1.0) ** 2
            - 0.01 * math.log(config.fusion.appearance_weight / 0.3) ** 2
        )

    lines = []
    found = fit(measure, RunConfig(), 1, 0.2, lines.append)
    assert found.fusion.flow_weight == 2 * RunConfig().fusion.flow_weight
    assert (
        found.fusion.appearance_weight == RunConfig().fusion.appearance_weight
    )  # better at .3, by less than is worth a change
    assert len(lines) == 1 + 5 * 4


def test_drawn_clips_always_show_object():
    """Drawn clips show an object of a minimum size in every frame."""
    clips = draw_clips(3, 2, 3, 64)
    again = draw_clips(3, 2, 3, 64)
    for clip, other in zip(clips, again, strict=True):
        assert clip.rgb.shape == (3, 64, 64, 3)
        assert 0.02 <= clip.mask[0].mean() <= 0.4
        assert clip.mask.any((1, 2)).all()
        assert (clip.rgb == other.rgb).all()


def test_recall_encodes_image_once():
    """An image is encoded once."""

    class Counting:
        calls = 0

        def encode(self, rgb, draws=1):
            self.calls += 1
            return rgb.sum()

    inner = Counting()
    recall = Recall(inner)
    one, other = torch.rand(1, 3, 4, 4), torch.rand(1, 3, 4, 4)
    assert recall.encode(one) == recall.encode(one.clone()) != recall.encode(other)
    assert inner.calls == 2
    recall.encode(one, 2)
    assert inner.calls == 3
