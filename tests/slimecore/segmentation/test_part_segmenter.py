"""A segmenter applied to images in both modes."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from slimecore.backbones import ModelSpec
from slimecore.backbones.stable_diffusion import build
from slimecore.errors import ArtifactError, InputError
from slimecore.imaging.resize import resize_rgb
from slimecore.imaging.tensors import to_tensor
from slimecore.io.masks import annotate
from slimecore.learning.faithful import learn_faithful
from slimecore.learning.faithful_config import FaithfulConfig
from slimecore.learning.probe import learn_parts
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.metrics.davis import region_j
from slimecore.segmentation.config import SegmentConfig
from slimecore.segmentation.part_segmenter import PartSegmenter
from tests.slimecore import naive_slime as naive


@pytest.fixture(scope="module")
def sd(sd_folder):
    return build(ModelSpec(name=str(sd_folder)), torch.device("cpu"))


@pytest.fixture(scope="module", params=["probe", "faithful"])
def learned(request, sd):
    """Random weights and hardly any learning: the road matters here, not the accuracy."""
    rng = np.random.default_rng(0)
    rgb = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    mask = np.kron(np.array([[0, 1], [5, 0]]), np.ones((32, 32))).astype(np.uint8)
    if request.param == "probe":
        config = LearnConfig(tokens=2, steps=3, views=ViewConfig(count=1))
        return rgb, learn_parts(sd, [annotate(rgb, mask)], config, short_side=64)
    config = FaithfulConfig(epochs=3, views=2)
    return rgb, learn_faithful(sd, [annotate(rgb, mask)], config, short_side=64, square=True)


@pytest.fixture(scope="module")
def disc(tiny):
    """slime-tiny and a disc it can find."""
    y, x = np.mgrid[:96, :128]
    mask = ((y - 48) ** 2 + (x - 60) ** 2 < 26**2).astype(np.uint8)
    rgb = np.where(mask[..., None] > 0, (220, 120, 30), (40, 70, 160)).astype(np.uint8)
    rgb[::4, ::4] += 20
    made = learn_parts(tiny, [annotate(rgb, mask)], LearnConfig(tokens=2, steps=60, views=ViewConfig(count=2)))
    return rgb, mask, made


def test_both_modes_return_part_values(sd, learned):
    """Both modes give the parts' own values."""
    rgb, made = learned
    result = PartSegmenter(sd, made, SegmentConfig(threshold=0))(rgb)
    assert set(np.unique(result.labels.labels)) <= {0, 1, 5}
    assert result.labels.labels.shape == (64, 64)
    np.testing.assert_allclose(result.scores.values.sum(0), 1, atol=1e-5)
    assert result.confidence.min() >= 0
    assert result.confidence.max() <= 1 + 1e-6


@pytest.mark.parametrize("drop", [False, True])
def test_faithful_segmentation_matches_published_rules(sd, drop):
    """Faithful segmentation follows the published rules.

    Threshold, background cut, WAS and rescaling, from the naive implementation, squashed to a square, a single crop.

    Two differences: the naive implementation drops a weak background too, and rescales after enlarging the 8 x 8 maps,
    not before.
    """
    rng = np.random.default_rng(1)
    rgb = rng.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    mask = np.kron(np.array([[0, 1], [2, 0]]), np.ones((32, 32))).astype(np.uint8)
    made = learn_faithful(sd, [annotate(rgb, mask)], FaithfulConfig(epochs=5, views=2), short_side=64, square=True)
    latents = sd.latents(to_tensor(rgb[None], sd.device))
    prompt = torch.from_numpy(made.prompt.copy())[None]
    scores, _ = naive.naive_pass(sd.unet, latents, 100, prompt)
    strongest = naive.naive_weights(naive.naive_cross_maps(scores, 3, (8, 8), (8, 8)))[0].amax((1, 2)).tolist()
    threshold = sorted(strongest[1:])[0] + 1e-4 if drop else 0.0
    ours = PartSegmenter(sd, made, SegmentConfig(merge="uniform", threshold=threshold))(rgb)
    _, canvas = naive.naive_test(sd.unet, [latents], 100, prompt, 3, [(0, 64, 0, 64)], 64, 64, threshold)
    dropped = [part for part in (1, 2) if ours.scores.values[part].max() == 0]
    assert len(dropped) == int(drop)
    if strongest[0] >= threshold:
        share = (canvas / canvas.sum(0)).numpy()
        assert float(np.abs(ours.scores.values - share).max()) < 0.05


def test_batching_does_not_change_scores(sd, learned):
    """Batch size and neighbouring images do not change the scores."""
    rgb, made = learned
    other = rgb[:48].copy()
    alone = PartSegmenter(sd, made, SegmentConfig(tiles=2, batch=1))
    together = PartSegmenter(sd, made, SegmentConfig(tiles=2, batch=5))
    for one, two in zip([alone(rgb), alone(other)], together.segment([rgb, other]), strict=True):
        np.testing.assert_allclose(one.scores.values, two.scores.values, atol=1e-5)


def test_noise_draws_use_crop_position(sd):
    """Every noise draw of a crop uses the position of the crop.

    Position features with crops and draws in the same batch, against a crop at a time.
    """
    rgb = np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8)
    mask = np.kron(np.array([[0, 1], [0, 0]]), np.ones((32, 32))).astype(np.uint8)
    config = LearnConfig(tokens=1, steps=20, position_scale=5.0, views=ViewConfig(count=0))
    made = learn_parts(sd, [annotate(rgb, mask)], config, short_side=64)
    settings = SegmentConfig(tiles=2, noise_samples=2, batch=2, threshold=0)
    alone = PartSegmenter(sd, made, settings)(rgb).scores.values
    together = PartSegmenter(sd, made, dataclasses.replace(settings, batch=8))(rgb).scores.values
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_noise_draws_averaged_and_seeded(sd, learned):
    """Several noise draws are averaged and seeded."""
    rgb, made = learned
    config = SegmentConfig(noise_samples=3, threshold=0)
    first, again = (PartSegmenter(sd, made, config)(rgb).scores.values for _ in range(2))
    single = PartSegmenter(sd, made, dataclasses.replace(config, noise_samples=1))(rgb).scores.values
    assert np.array_equal(first, again)
    assert not np.array_equal(first, single)


def test_output_size_is_free(tiny, disc):
    """The output may have any size."""
    rgb, mask, made = disc
    result = PartSegmenter(tiny, made)(rgb, size=(192, 256))
    big = np.kron(mask, np.ones((2, 2)))
    assert region_j(result.labels.labels, big) > 0.8
    assert result.confidence.shape == (192, 256)


def test_tiles_agree_with_whole_image(tiny, disc):
    """Tiles agree with the whole image."""
    rgb, mask, made = disc
    for patches in (1, 2):
        result = PartSegmenter(tiny, made, SegmentConfig(tiles=patches))(rgb)
        assert region_j(result.labels.labels, mask) > 0.8


def test_guided_filter_sharpens_edges(tiny, disc):
    """Edges follow the image.

    The maps come in cells of 8 pixels. The guided filter brings them to the disc's rim.
    """
    rgb, mask, made = disc
    rough, fine = (
        region_j(PartSegmenter(tiny, made, SegmentConfig(guided_filter_radius=radius))(rgb).labels.labels, mask)
        for radius in (0, 8)
    )
    assert fine > rough + 0.02


def test_part_below_threshold_omitted(tiny, disc):
    """A part below the threshold is left out.

    No evidence is quite 1.
    """
    rgb, _, made = disc
    assert PartSegmenter(tiny, made, SegmentConfig(threshold=0.5))(rgb).labels.labels.any()
    assert not PartSegmenter(tiny, made, SegmentConfig(threshold=1.0))(rgb).labels.labels.any()


def test_large_image_labels_are_argmax(tiny, disc):
    """Labels of large images are the most likely parts."""
    rgb, _, made = disc
    result = PartSegmenter(tiny, made)(rgb)
    assert result.labels.labels.shape == rgb.shape[:2]
    shrunk = PartSegmenter(tiny, made)(rgb, size=result.scores.values.shape[1:])
    assert np.array_equal(shrunk.labels.labels, result.scores.label_map().labels)
    np.testing.assert_allclose(shrunk.confidence, result.scores.values.max(0), atol=1e-5)


def test_wrong_image_or_model_refused(tiny, sd, disc):
    """Images of another kind and other models are refused."""
    rgb, _, made = disc
    with pytest.raises(InputError, match=r"must be \(h, w, 3\) uint8 RGB"):
        PartSegmenter(tiny, made)(rgb[..., 0])
    with pytest.raises(ArtifactError, match="use --model slime-tiny"):
        PartSegmenter(sd, made)


def test_small_image_enlarged_only_in_faithful(tiny, disc):
    """A small image is enlarged in faithful mode only.

    The published input is 512 whatever the image. Probe mode takes images at their own size at most.
    """
    rgb, _, made = disc
    small = resize_rgb(rgb, (48, 64))
    assert PartSegmenter(tiny, made)(small).scores.values.shape[1:] == (48, 64)


def test_small_picture_enlarged_if_recorded(tiny, disc):
    """A picture below the network's size is enlarged if its parts were learned so."""
    rgb, mask, _ = disc
    config = LearnConfig(tokens=1, steps=3, views=ViewConfig(count=0))
    for enlarge, shape in ((False, (96, 128)), (True, (192, 256))):
        made = learn_parts(tiny, [annotate(rgb, mask)], config, short_side=192, enlarge=enlarge)
        assert PartSegmenter(tiny, made)(rgb).scores.values.shape[1:] == shape
