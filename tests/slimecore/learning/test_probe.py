"""Learning parts by probe mode on images with known answers."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from slimecore.backbones import ModelSpec
from slimecore.backbones.stable_diffusion import build
from slimecore.config import apply
from slimecore.errors import ConfigError, InputError
from slimecore.io.masks import MaskFile, annotate, make_parts
from slimecore.learning.probe import learn_parts
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.metrics.davis import region_j
from slimecore.segmentation.readout import segment_image
from slimecore.types import Annotation

FAST = LearnConfig(tokens=2, steps=60, views=ViewConfig(count=2))


def test_learned_parts_segment_shifted_copy(tiny, two_tone):
    """Learned parts segment the reference image and a shifted copy."""
    rgb, mask = two_tone
    parts = learn_parts(tiny, [annotate(rgb, mask)], FAST)
    moved, moved_mask = np.roll(rgb, 20, 1), np.roll(mask, 20, 1)
    assert region_j(segment_image(tiny, parts, rgb).label_map().labels, mask) > 0.85
    assert region_j(segment_image(tiny, parts, moved).label_map().labels, moved_mask) > 0.8


def test_part_values_survive_learning(tiny, two_tone):
    """Part values survive learning."""
    rgb, mask = two_tone
    parts = learn_parts(tiny, [annotate(rgb, mask * 7)], FAST)
    assert parts.parts.values == (0, 7)
    assert set(np.unique(segment_image(tiny, parts, rgb).label_map().labels)) == {0, 7}


def test_equal_seeds_give_equal_embeddings(tiny, two_tone):
    """Equal seeds give equal embeddings bit for bit."""
    annotation = annotate(*two_tone)
    config = LearnConfig(tokens=2, steps=5, views=ViewConfig(count=1))
    first, second, other = (learn_parts(tiny, [annotation], config, seed=s) for s in (3, 3, 4))
    assert np.array_equal(first.vectors, second.vectors)
    assert not np.array_equal(first.vectors, other.vectors)


def test_learning_keeps_global_random_state(tiny, two_tone):
    """Learning leaves the global random state alone."""
    torch.manual_seed(0)
    before = torch.get_rng_state()
    learn_parts(tiny, [annotate(*two_tone)], LearnConfig(tokens=1, steps=2, views=ViewConfig(count=1)))
    assert torch.equal(before, torch.get_rng_state())


def test_ignored_pixels_have_no_weight(tiny, two_tone):
    """Ignored pixels do not contribute to learning.

    Cells under ignored pixels weigh nothing, and their targets do not count as background.
    """
    from slimecore.learning.probe import _encoded_views

    rgb, mask = two_tone
    parts = make_parts(MaskFile(mask.astype(np.int32), {}))
    rows = mask.astype(np.int16)
    rows[:, 64:] = -1
    (views,) = _encoded_views(tiny, [Annotation(rgb, rows, parts)], ViewConfig(count=0), 96, 0)
    assert views.valid[..., :8].min() == 1
    assert views.valid[..., 8:].max() == 0
    assert views.targets[..., 8:].max() == 0


def test_sd_checkpoint_learns_and_segments(two_tone, sd_folder):
    """Any Stable Diffusion folder learns and segments.

    Random weights give no accuracy to expect, but every step must run.
    """
    rgb, mask = two_tone
    backbone = build(ModelSpec(name=str(sd_folder)), torch.device("cpu"))
    config = LearnConfig(tokens=2, steps=3, views=ViewConfig(count=1))
    parts = learn_parts(backbone, [annotate(rgb, mask)], config, short_side=64)
    scores = segment_image(backbone, parts, rgb, short_side=64)
    assert scores.values.shape == (2, 96, 128)
    np.testing.assert_allclose(scores.values.sum(0), 1, atol=1e-5)


def test_removed_was_weight_is_named():
    """A setting that was removed is named in the error."""
    with pytest.raises(ConfigError, match=r"'was_weight' is no longer a setting; leave it out"):
        apply(LearnConfig(), {"was_weight": 0.0}, where="test")


def test_annotations_with_different_parts_combined(tiny, two_tone):
    """Annotations with different subsets of the parts are learned together."""
    rgb, mask = two_tone
    half = mask * (np.arange(128) < 60)
    config = LearnConfig(tokens=1, steps=40, views=ViewConfig(count=0))
    parts = learn_parts(tiny, [annotate(rgb, 2 * mask), annotate(rgb[..., ::-1].copy(), 5 * half)], config)
    assert parts.parts.values == (0, 2, 5)
    labels = segment_image(tiny, parts, rgb).label_map().labels
    assert region_j(labels == 2, mask) > 0.7
    assert np.bincount(labels[mask > 0], minlength=6)[5] < 200


def test_learning_without_annotation_refused(tiny):
    """Learning needs an annotation."""
    with pytest.raises(InputError, match="at least one"):
        learn_parts(tiny, [], FAST)


def test_more_parts_than_prompt_tokens_learned(tiny):
    """Probe mode learns more parts than a prompt has tokens.

    SLiMe's route through the text encoder ends at 77 tokens, probe mode does not.
    """
    values = np.arange(1, 101)
    mask = np.kron(values.reshape(10, 10), np.ones((32, 32), int))
    tones = np.random.default_rng(0).integers(0, 256, (101, 3)).astype(np.uint8)
    config = LearnConfig(tokens=1, steps=150, class_balance=0.0, descriptor_scale=5.0, position_scale=5.0, batch=2048)
    config = replace(config, views=ViewConfig(count=0))
    parts = learn_parts(tiny, [annotate(tones[mask], mask)], config)
    assert parts.vectors.shape[0] == 101
    labels = segment_image(tiny, parts, tones[mask]).label_map().labels
    assert (labels == mask).mean() > 0.5  # chance: 0.01
    assert len(np.unique(labels)) > 77


def twins():
    """Two discs that look alike: only their places tell them apart."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[:96, :128]
    mask = ((y - 48) ** 2 + (x - 32) ** 2 < 400) + 2 * ((y - 48) ** 2 + (x - 96) ** 2 < 400)
    rgb = np.where(mask[..., None] > 0, (220, 120, 30), (40, 70, 160)) + rng.normal(0, 6, (96, 128, 3))
    return rgb.clip(0, 255).astype(np.uint8), mask


def test_position_separates_identical_objects(tiny):
    """Position features separate identical objects and are off by default."""
    rgb, mask = twins()
    still = replace(FAST, lr=0.2, descriptor_scale=5.0, views=ViewConfig(count=0, mirror=False))
    blind, aware = (learn_parts(tiny, [annotate(rgb, mask)], replace(still, position_scale=p)) for p in (0.0, 5.0))
    mirrored = np.ascontiguousarray(rgb[:, ::-1])
    found = segment_image(tiny, aware, mirrored).label_map().labels
    assert min(region_j(found == v, mask == v) for v in (1, 2)) > 0.6
    assert aware.columns.shape[2] - blind.columns.shape[2] == 25
    assert LearnConfig().position_scale == 0
    assert learn_parts(tiny, [annotate(rgb, mask)], replace(FAST, steps=1, descriptor_scale=0.0)).columns is None


def test_cell_batches_seeded_and_learn(tiny, two_tone):
    """Batches of grid cells repeat under the same seed and learn."""
    rgb, mask = two_tone
    config = replace(FAST, batch=256)
    first, second = (learn_parts(tiny, [annotate(rgb, mask)], config, seed=2) for _ in range(2))
    assert np.array_equal(first.vectors, second.vectors)
    assert not np.array_equal(first.vectors, learn_parts(tiny, [annotate(rgb, mask)], FAST, seed=2).vectors)
    assert region_j(segment_image(tiny, first, rgb).label_map().labels, mask) > 0.8


def test_large_cell_count_is_subsampled(tiny, two_tone, monkeypatch):
    """Of a great many grid cells a sample is kept."""
    from slimecore.learning import probe as learn

    sets = learn._encoded_views(tiny, [annotate(*two_tone)] * 2, ViewConfig(count=1), 96, 0)
    whole = learn._sample_pixels(sets, FAST, torch.Generator().manual_seed(0))
    monkeypatch.setattr(learn, "_MAX_CELLS", 300)
    some = learn._sample_pixels(sets, FAST, torch.Generator().manual_seed(0))
    assert len(whole.queries) == 4 * 12 * 16
    assert len(some.queries) == len(some.targets) == len(some.valid) == 300


def test_weight_decay_shared_by_annotations(tiny, two_tone):
    """Weight decay is shared by the annotations."""
    one = replace(FAST, weight_decay=1.0, views=ViewConfig(count=0))
    annotation = annotate(*two_tone)
    held, free = (learn_parts(tiny, [annotation] * n, one) for n in (1, 20))
    start = tiny.null_token().numpy()
    assert np.abs(held.vectors - start).mean() < np.abs(free.vectors - start).mean()
