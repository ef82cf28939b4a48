"""Learning and reading parts on pictures with known answers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from slimecore.backbones import ModelSpec
from slimecore.backbones.stable_diffusion import build
from slimecore.errors import ArtifactError, ConfigError, InputError
from slimecore.learn import learn_parts
from slimecore.learn_config import LearnConfig, ViewConfig
from slimecore.losses import class_weights, cross_entropy, squared_error
from slimecore.masks import MaskFile, annotate, make_parts
from slimecore.metrics import region_j
from slimecore.segment import segment_image
from slimecore.types import Annotation

FAST = LearnConfig(tokens=2, steps=60, views=ViewConfig(count=2))


def test_learned_parts_segment_the_reference_and_a_shifted_copy(tiny, two_tone):
    rgb, mask = two_tone
    parts = learn_parts(tiny, [annotate(rgb, mask)], FAST)
    moved, moved_mask = np.roll(rgb, 20, 1), np.roll(mask, 20, 1)
    assert region_j(segment_image(tiny, parts, rgb).label_map().labels, mask) > 0.85
    assert region_j(segment_image(tiny, parts, moved).label_map().labels, moved_mask) > 0.8


def test_part_values_survive_learning(tiny, two_tone):
    rgb, mask = two_tone
    parts = learn_parts(tiny, [annotate(rgb, mask * 7)], FAST)
    assert parts.parts.values == (0, 7)
    assert set(np.unique(segment_image(tiny, parts, rgb).label_map().labels)) == {0, 7}


def test_equal_seeds_give_equal_embeddings_bit_for_bit(tiny, two_tone):
    annotation = annotate(*two_tone)
    config = LearnConfig(tokens=2, steps=5, views=ViewConfig(count=1))
    first, second, other = (learn_parts(tiny, [annotation], config, seed=s) for s in (3, 3, 4))
    assert np.array_equal(first.vectors, second.vectors)
    assert not np.array_equal(first.vectors, other.vectors)


def test_learning_leaves_the_global_random_state_alone(tiny, two_tone):
    torch.manual_seed(0)
    before = torch.get_rng_state()
    learn_parts(tiny, [annotate(*two_tone)], LearnConfig(tokens=1, steps=2, views=ViewConfig(count=1)))
    assert torch.equal(before, torch.get_rng_state())


def test_ignored_pixels_do_not_teach(tiny, two_tone):
    """Cells under ignored pixels weigh nothing, and their targets do not count as background."""
    from slimecore.learn import _encoded_views

    rgb, mask = two_tone
    parts = make_parts(MaskFile(mask.astype(np.int32), {}))
    rows = mask.astype(np.int16)
    rows[:, 64:] = -1
    (views,) = _encoded_views(tiny, [Annotation(rgb, rows, parts)], ViewConfig(count=0), 96, 0)
    assert views.valid[..., :8].min() == 1
    assert views.valid[..., 8:].max() == 0
    assert views.targets[..., 8:].max() == 0


def test_embeddings_of_another_model_are_refused_with_the_remedy(tiny, two_tone, sd_folder):
    rgb, mask = two_tone
    config = LearnConfig(tokens=1, steps=2, views=ViewConfig(count=0))
    parts = learn_parts(tiny, [annotate(rgb, mask)], config)
    other = build(ModelSpec(name=str(sd_folder)), torch.device("cpu"))
    with pytest.raises(ArtifactError, match=r"use --model slime-tiny, or learn the parts again"):
        segment_image(other, parts, rgb)


def test_any_stable_diffusion_folder_learns_and_segments(two_tone, sd_folder):
    """Random weights: no accuracy to expect, but every step of the road must hold."""
    rgb, mask = two_tone
    backbone = build(ModelSpec(name=str(sd_folder)), torch.device("cpu"))
    config = LearnConfig(tokens=2, steps=3, views=ViewConfig(count=1), was_weight=1.0)
    parts = learn_parts(backbone, [annotate(rgb, mask)], config, short_side=64)
    scores = segment_image(backbone, parts, rgb, short_side=64)
    assert scores.values.shape == (2, 96, 128)
    np.testing.assert_allclose(scores.values.sum(0), 1, atol=1e-5)


def test_annotations_must_agree_on_parts(tiny, two_tone):
    rgb, mask = two_tone
    with pytest.raises(InputError, match="disagree on part values"):
        learn_parts(tiny, [annotate(rgb, mask), annotate(rgb, 2 * mask)], FAST)
    with pytest.raises(InputError, match="at least one"):
        learn_parts(tiny, [], FAST)


def test_settings_out_of_range_are_refused():
    with pytest.raises(ConfigError, match=r"learn.tokens"):
        LearnConfig(tokens=0)


def test_cross_entropy_and_squared_error_by_hand():
    targets = torch.tensor([[[[1.0, 0.0]], [[0.0, 1.0]]]])
    probabilities = torch.tensor([[[[0.8, 0.4]], [[0.2, 0.6]]]])
    valid = torch.ones(1, 1, 1, 2)
    weights = torch.tensor([1.0, 3.0])
    expected = -(1 * np.log(0.8) + 3 * np.log(0.6)) / 4
    assert float(cross_entropy(probabilities, targets, valid, weights)) == pytest.approx(expected, rel=1e-5)
    assert float(squared_error(probabilities, targets, valid)) == pytest.approx((0.08 + 0.32) / 2, rel=1e-5)
    half = torch.tensor([[[[1.0, 0.0]]]])
    assert float(squared_error(probabilities, targets, half)) == pytest.approx(0.08, rel=1e-5)


def test_class_weights_level_areas_and_drop_absent_parts():
    targets = torch.zeros(1, 3, 1, 10)
    targets[0, 0, 0, :9] = 1
    targets[0, 1, 0, 9:] = 1
    valid = torch.ones(1, 1, 1, 10)
    even = class_weights(targets, valid, power=1.0)
    assert float(even[0] * 9) == pytest.approx(float(even[1] * 1), rel=1e-5)
    assert float(even[2]) == 0
    assert class_weights(targets, valid, power=0.0)[:2].tolist() == pytest.approx([1.0, 1.0])
