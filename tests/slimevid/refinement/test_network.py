"""The refinement network against its naive implementation, its shipped weights and its files."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from slimecore.errors import ModelError
from slimecore.runtime.device import pick_dtype
from slimecore.types import Frame
from slimevid.config import RunConfig
from slimevid.cues.color_model import ColorModel
from slimevid.frame.features import FrameFeatures
from slimevid.fusion.motion_gate import with_log_odds
from slimevid.refinement import network as completion
from slimevid.refinement.network import (
    INPUT_CHANNELS,
    RefinementNet,
    load_completion,
    read_completion,
    refine,
    write_completion,
)


@pytest.mark.parametrize("size", [(16, 16), (1, 1), (37, 50), (5, 90)])
def test_untrained_network_adds_nothing(size):
    """The network takes any size, and adds nothing before training."""
    planes, rgb = torch.rand(2, len(INPUT_CHANNELS), *size), torch.rand(2, 3, *size)
    added = RefinementNet()(planes, rgb)
    assert added.shape == (2, *size)
    assert not added.any()


@pytest.mark.parametrize("radius", [2, 5])
def test_contrast_matches_naive(radius):
    """Contrast is measured against the mean colours around a pixel.

    The naive implementation averages pixel by pixel, and repeats the border.
    """
    rng = np.random.default_rng(radius)
    rgb, known = rng.random((7, 9, 3)).astype(np.float32), rng.random((7, 9, 1)).astype(np.float32)
    near = np.arange(-radius, radius + 1)
    expected = np.zeros((7, 9))
    for y, x in np.ndindex(7, 9):
        around = np.ix_((y + near).clip(0, 6), (x + near).clip(0, 8))
        away = []
        for weight in (known[around], 1 - known[around]):
            mean = (rgb[around] * weight).mean((0, 1)) / (weight.mean() + 1e-2)
            away.append(np.linalg.norm(rgb[y, x] - mean))
        expected[y, x] = (away[1] - away[0]) / (sum(away) + 0.05)
    found = completion._contrast(*(torch.from_numpy(a.transpose(2, 0, 1).copy())[None] for a in (rgb, known)), radius)
    assert found.shape == (1, 1, 7, 9)
    assert np.allclose(found[0, 0].numpy(), expected, atol=1e-5)


def test_shipped_network_fills_gap_in_disc():
    """The shipped network fills a gap in a plain disc.

    All cues missed a piece of the border. Its colour is the disc's, and nothing else is like it.
    """
    net = load_completion()
    y, x = np.mgrid[:96, :128]
    disc = np.hypot(y - 48, x - 64) < 30
    gap = disc & (np.hypot(y - 30, x - 84) < 9)
    rgb = np.where(disc[..., None], (0.8, 0.3, 0.2), (0.2, 0.5, 0.3)).astype(np.float32)
    rgb += np.random.default_rng(0).normal(0, 0.02, rgb.shape).astype(np.float32)
    sure = np.where(disc, 0.97, 0.03).astype(np.float32)
    model, picture = ColorModel(), (255 * rgb.clip(0, 1)).astype(np.uint8)
    model.learn(picture, np.stack([1 - disc, disc]).astype(np.float32))
    cues = [np.where(gap, 0.3, sure)] * 4 + [np.ones_like(sure), np.zeros_like(sure), model.odds(picture)]
    planes = np.stack(cues).astype(np.float32)
    with torch.no_grad():
        added = net(torch.from_numpy(planes)[None], torch.from_numpy(rgb.transpose(2, 0, 1))[None])[0].numpy()
    found = with_log_odds(np.stack([1 - planes[0], planes[0]]), added.clip(0))[1] > 0.5
    assert found[gap].mean() > 0.7
    assert found[~disc].mean() < 0.01


def test_shipped_network_favours_matching_colors():
    """The shipped network adds more where colours fit the parts."""
    y, x = np.mgrid[:96, :128]
    disc = np.hypot(y - 48, x - 64) < 30
    gap = disc & (np.hypot(y - 30, x - 84) < 9)
    rgb = torch.from_numpy(np.random.default_rng(0).normal(0.5, 0.05, (1, 3, 96, 128)).astype(np.float32))
    sure = np.where(disc & ~gap, 0.97, np.where(gap, 0.3, 0.03))
    added = []
    for odds in (-3.0, 3.0):
        colours = np.where(gap, odds, np.where(disc, 3.0, -3.0))
        planes = np.stack([sure] * 4 + [np.ones_like(sure), np.zeros_like(sure), colours]).astype(np.float32)
        with torch.no_grad():
            added.append(load_completion()(torch.from_numpy(planes)[None], rgb)[0].numpy()[gap].mean())
    assert added[1] > added[0] + 0.5


def test_refine_crops_image_and_removes_nothing():
    """The network sees the image in the box of the evidence, and only adds to the foreground."""
    rng = np.random.default_rng(3)
    rgb = cv2.resize(rng.integers(0, 256, (12, 16, 3), np.uint8), (128, 96))
    state = FrameFeatures(Frame(1, rgb, "1"), RunConfig(mask_size=96), None)
    box = (slice(24, 72), slice(40, 120))
    planes = np.stack([cv2.resize(plane, (80, 48)) for plane in rng.random((len(INPUT_CHANNELS), 3, 5), np.float32)])
    net = load_completion(pick_dtype("half", torch.device("cpu")))
    seen = torch.from_numpy(np.ascontiguousarray(rgb[box].transpose(2, 0, 1)))[None].float() / 255
    with torch.no_grad():
        expected = net(torch.from_numpy(planes)[None], seen)[0].numpy()
    assert expected.min() < 0 < expected.max()
    np.testing.assert_array_equal(refine(state, box, planes), expected.clip(0))


@pytest.mark.parametrize("content", [None, b"", b"not weights"])
def test_damaged_network_raises_model_error(tmp_path, monkeypatch, content):
    """A missing or damaged network is a single error."""
    path = tmp_path / "completion.safetensors"
    if content is not None:
        path.write_bytes(content)
    monkeypatch.setattr(completion, "WEIGHTS", path)
    load_completion.cache_clear()
    with pytest.raises(ModelError, match=r"refinement network; install again, or --set fusion\.refinement_limit=0"):
        load_completion()


def test_network_weights_round_trip_exact(tmp_path):
    """Weights of the network survive saving bit for bit."""
    net = RefinementNet()
    with torch.no_grad():
        for number, parameter in enumerate(net.parameters()):
            parameter.copy_(torch.randn(parameter.shape, generator=torch.Generator().manual_seed(number)))
    write_completion(tmp_path / "net.safetensors", net)
    again = read_completion(tmp_path / "net.safetensors").state_dict()
    assert all(torch.equal(value, again[name]) for name, value in net.state_dict().items())
    assert len(again) > 10
