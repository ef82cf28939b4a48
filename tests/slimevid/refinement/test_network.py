"""The completing network: what it is shown, how its odds are taken, and that nothing of it is carried on unasked."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch

from slimecore.errors import ModelError
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.runtime.device import pick_dtype
from slimecore.types import Frame
from slimevid.config import FusionConfig, RunConfig
from slimevid.cues.color_model import LIMIT, ColorModel
from slimevid.frame.features import FrameFeatures
from slimevid.fusion.motion_gate import with_log_odds
from slimevid.refinement import network as completion
from slimevid.refinement.network import INPUT_CHANNELS, RefinementNet, load_completion, refine
from slimevid.session.segmenter import Segmenter

QUICK = LearnConfig(tokens=2, steps=10, views=ViewConfig(count=1))


def session(tiny, network=refine, **fusion):
    config = RunConfig(network_size=64, mask_size=48, keyframe_interval=1, learn=QUICK, fusion=FusionConfig(**fusion))
    return Segmenter(config, tiny, refiner=network)


class Adding:
    """Adds one number everywhere, and keeps what it was shown."""

    def __init__(self, value: float) -> None:
        self.value = value
        self.seen: list[tuple[object, object, np.ndarray]] = []

    def __call__(self, features, box, planes):
        self.seen.append((features, box, planes))
        return np.full(planes.shape[1:], self.value, np.float32)


def test_closed_gate_propagates_nothing(tiny, disc):
    """With a motion gate of 0 propagated labels never contain the additions of colour and refinement network."""
    adding, alone = session(tiny, Adding(3.0), motion_gate=0.0), session(tiny, color_weight=0.0, refinement_limit=0.0)
    for one in (adding, alone):
        one.add_reference(*disc(0))
    more = 0
    for i in range(1, 6):
        more += int((adding.step(disc(i)[0]).labels > 0).sum()) - int((alone.step(disc(i)[0]).labels > 0).sum())
    assert more > 0
    found, expected = adding.snapshot(), alone.snapshot()
    assert found.keys() == expected.keys()
    assert "soft" in found
    for name in found:
        assert np.array_equal(found[name], expected[name]), name


def test_refinement_limit_caps_additions(tiny, disc):
    """The refinement network adds no more than ``fusion.refinement_limit``."""
    results = []
    for value, limit in ((50.0, 1.0), (1.0, 4.0), (0.0, 4.0)):
        one = session(tiny, Adding(value), refinement_limit=limit)
        one.add_reference(*disc(0))
        one.step(disc(1)[0])
        results.append(one.soft)
    np.testing.assert_array_equal(results[0], results[1])
    assert not np.array_equal(results[0], results[2])


def test_color_odds_added_with_weight(tiny, disc):
    """Without the network colour is added with its weight."""
    soft = []
    for weight in (0.0, 0.5):
        one = session(tiny, color_weight=weight, refinement_limit=0.0, guided_filter_radius=0)
        first, mask = disc(0)
        one.add_reference(first, mask)
        one.step(first)  # the reference again: the window's odds are those of its pixels
        soft.append(one.soft)
    model = ColorModel()
    model.learn(first, np.stack([mask == 0, mask > 0]).astype(np.float32))
    before, after = (np.log((1 - s[0]).clip(1e-6) / s[0].clip(1e-6)) for s in soft)
    sure = (mask > 0) & (model.odds(first) == LIMIT) & (np.abs(before) < 3)
    assert sure.sum() > 20
    assert np.median((after - before)[sure]) == pytest.approx(0.5 * LIMIT, abs=0.2)


def test_refinement_limit_zero_skips_network(tiny, disc):
    """With ``fusion.refinement_limit`` 0 the network is not called."""
    adding = Adding(1.0)
    one = session(tiny, adding, refinement_limit=0.0)
    one.add_reference(*disc(0))
    one.step(disc(1)[0])
    assert not adding.seen


def test_network_receives_all_cues(tiny, disc):
    """The network receives every cue in the uncertain box."""
    adding = Adding(0.0)
    one = session(tiny, adding, color_weight=0.4, motion_gate=0.0)
    first, mask = disc(0)
    one.add_reference(first, mask)
    for i in (1, 2):
        one.step(disc(i)[0])
    features, box, planes = adding.seen[-1]
    soft = one.snapshot()["soft"][(slice(None), *box)]
    assert planes.shape == (len(INPUT_CHANNELS), *soft.shape[1:])
    assert planes.dtype == np.float32
    assert features.frame.index == 2
    by_name = dict(zip(INPUT_CHANNELS, planes, strict=True))
    model = ColorModel()
    model.learn(first, np.stack([mask == 0, mask > 0]).astype(np.float32))
    np.testing.assert_array_equal(by_name["colours"], model.odds(features.mask_image[box]))
    assert np.ptp(by_name["colours"]) > 1
    np.testing.assert_allclose(by_name["all"], with_log_odds(soft, 0.4 * by_name["colours"])[1], atol=1e-5)
    for name in ("memory", "learned", "carried"):
        assert 0 <= by_name[name].min() < by_name[name].max() <= 1 + 1e-6, name
        assert not np.array_equal(by_name[name], by_name["all"])
    assert by_name["trust"].min() >= 0
    assert 0.9 < by_name["trust"].max() <= 1 + 1e-6
    assert -0.5 <= by_name["motion"].min() <= by_name["motion"].max() <= 1


def test_missing_cues_repeat_fused_foreground(tiny, disc):
    """Channels of missing cues repeat the fused foreground."""
    adding = Adding(0.0)
    config = RunConfig(
        network_size=64,
        mask_size=48,
        learn=QUICK,
        flow="none",
        fusion=FusionConfig(appearance_weight=0, color_weight=0),
    )
    one = Segmenter(config, tiny, refiner=adding)
    one.add_reference(*disc(0))
    one.step(disc(1)[0])
    planes = dict(zip(INPUT_CHANNELS, adding.seen[-1][2], strict=True))
    assert np.array_equal(planes["learned"], planes["all"])
    assert np.array_equal(planes["carried"], planes["all"])
    assert not planes["trust"].any()
    assert not planes["motion"].any()


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
    with pytest.raises(ModelError, match=r"completing network; install again, or --set fusion\.refinement_limit=0"):
        load_completion()
