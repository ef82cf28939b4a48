"""Lucid dreams: pictures that agree with their masks, and a network adapted on them."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from slimecore.errors import ConfigError
from slimecore.io.masks import MaskFile, make_parts
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.metrics.davis import region_j
from slimecore.types import Annotation
from slimevid.config import FusionConfig, RunConfig
from slimevid.refinement import adaptation as lucid
from slimevid.refinement.lucid_dreaming import dream_clip
from slimevid.refinement.network import RefinementNet, load_completion, read_completion, write_completion
from slimevid.refinement.samples import RefinementSample, batch_of, loss, random_crop
from slimevid.session import learning as teaching
from slimevid.session.segmenter import Segmenter

QUICK = LearnConfig(tokens=2, steps=5, views=ViewConfig(count=1))
SMALL = RunConfig(network_size=64, mask_size=48, learn=QUICK, adaptation_clips=2)


def red_on_blue(height: int, width: int) -> Annotation:
    """A red egg of two halves on a blue ground of two shades."""
    y, x = np.mgrid[:height, :width]
    egg = np.hypot((y - height / 2) / 1.3, x - width / 2) < min(height, width) / 5
    rows = np.where(egg, 1 + (x > width / 2), 0).astype(np.int16)
    ground = np.where(((x // 8 + y // 8) % 2)[..., None], (20, 40, 200), (30, 60, 160))
    rgb = np.where(egg[..., None], (220, 30, 30), ground).astype(np.uint8)
    return Annotation(rgb, rows, make_parts(MaskFile(rows.astype(np.int32), {})))


@settings(max_examples=15)
@given(st.integers(0, 2**32 - 1))
def test_images_agree_with_labels(seed):
    """Images of a synthetic clip agree with their labels in every frame."""
    given_ = red_on_blue(96, 128)
    found = dream_clip(given_, 5, np.random.default_rng(seed))
    assert found.rgb.shape == (5, 96, 128, 3)
    assert found.rgb.dtype == np.uint8
    assert found.rows.shape == (5, 96, 128)
    assert set(np.unique(found.rows)) <= {0, 1, 2}
    for rgb, rows in zip(found.rgb.astype(int), found.rows, strict=True):
        red = rgb[..., 0] > rgb[..., 2]  # nothing of the thing is left where it was, either
        assert not (rows > 0).any() or region_j(red, rows > 0) > 0.85


@given(st.integers(0, 2**32 - 1))
@settings(max_examples=10)
def test_first_frame_is_noisy_annotation(seed):
    """The first frame is the annotated one but for noise."""
    given_ = red_on_blue(64, 80)
    found = dream_clip(given_, 2, np.random.default_rng(seed))
    assert np.array_equal(found.rows[0], given_.rows)
    inside = np.abs(found.rgb[0].astype(int) - given_.rgb).max(2)
    assert np.median(inside) < 12
    assert not np.array_equal(found.rgb[0], found.rgb[1])


def test_parts_move_and_are_occluded():
    """Parts move, and sometimes something occludes them."""
    given_ = red_on_blue(96, 128)
    ends = [dream_clip(given_, 4, np.random.default_rng(seed)).rows for seed in range(20)]
    assert np.mean([region_j(rows[-1] > 0, rows[0] > 0) for rows in ends]) < 0.8
    holes = [rows[1:].any() and ((rows[2] > 0).sum() < 0.93 * (rows[0] > 0).sum()) for rows in ends]
    assert 2 <= sum(holes) < 20


def test_same_seed_gives_same_clip():
    """The same seed gives the same clip."""
    given_ = red_on_blue(48, 64)
    one, other, third = (dream_clip(given_, 3, np.random.default_rng(seed)) for seed in (4, 4, 5))
    assert np.array_equal(one.rgb, other.rgb)
    assert not np.array_equal(one.rgb, third.rgb)


def test_large_images_reduced_ignored_is_background():
    """Large images are reduced, and ignored pixels are background."""
    given_ = red_on_blue(960, 1280)
    rows = given_.rows.copy()
    rows[:100] = -1
    found = dream_clip(Annotation(given_.rgb, rows, given_.parts), 2, np.random.default_rng(0))
    assert found.rows.shape == (2, 480, 640)
    assert found.rows.min() == 0


def test_extreme_part_sizes_accepted():
    """A part that fills the image and a part of a single pixel are accepted."""
    rgb = np.random.default_rng(0).integers(0, 255, (40, 56, 3), np.uint8)
    for spot in (np.s_[:, :], np.s_[7:8, 9:10]):
        rows = np.zeros((40, 56), np.int16)
        rows[spot] = 1
        parts = make_parts(MaskFile(rows.astype(np.int32), {}))
        found = dream_clip(Annotation(rgb, rows, parts), 3, np.random.default_rng(1))
        assert np.array_equal(found.rows[0], rows)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lucid, "_STEPS", 2)
    monkeypatch.setattr(lucid, "_FRAMES", 4)


def weights(session: Segmenter) -> list[torch.Tensor]:
    return list(session.adapted.state_dict().values())


@pytest.mark.usefixtures("quick")
def test_adaptation_deterministic_and_reported(tiny, disc):
    """The network is adapted to the references, deterministically and with progress."""
    one, other = Segmenter(SMALL, tiny), Segmenter(SMALL, tiny)
    told = []
    one.add_reference(*disc(0), progress=lambda step, steps, _loss: told.append((step, steps)))
    other.add_reference(*disc(0))
    assert told == [(i, 5 + 2 + 4) for i in range(1, 12)]
    shipped = list(load_completion().state_dict().values())
    assert all(torch.equal(a, b) for a, b in zip(weights(one), weights(other), strict=True))
    assert any(not torch.equal(a, b) for a, b in zip(weights(one), shipped, strict=True))
    plain = Segmenter(replace(SMALL, adaptation_clips=0), tiny)
    plain.add_reference(*disc(0))
    assert plain.adapted is None
    for session in (one, other, plain):
        session.step(disc(1)[0])
    assert np.array_equal(one.soft, other.soft)
    assert not np.array_equal(one.soft, plain.soft)


@pytest.mark.usefixtures("quick")
def test_adapted_network_is_reused(tiny, disc, monkeypatch):
    """A network adapted earlier is used as it is."""
    one = Segmenter(SMALL, tiny)
    one.add_reference(*disc(0))
    again = Segmenter(SMALL, tiny)
    monkeypatch.setattr(teaching, "adapt", None)
    again.set_references(list(one._references.values()), learned=one.embeddings, adapted=one.adapted)
    again.start(0)
    for session in (one, again):
        session.step(disc(1)[0])
    assert np.array_equal(one.soft, again.soft)


@pytest.mark.parametrize(
    "config",
    [
        replace(SMALL, propagator="memory_only"),
        replace(SMALL, propagator="flow_warp"),
        replace(SMALL, fusion=FusionConfig(refinement_limit=0.0)),
    ],
    ids=["memory_only", "flow_warp", "no network"],
)
def test_unused_network_is_not_adapted(tiny, disc, monkeypatch, config):
    """The network is not adapted where it is not used."""
    monkeypatch.setattr(teaching, "adapt", None)
    one = Segmenter(config, tiny)
    one.add_reference(*disc(0))
    assert one.adapted is None


def test_adaptation_lowers_loss_on_errors():
    """Adaptation lowers the loss where the evidence errs.

    The evidence takes in a ring of background in the part's own colours: only this clip can teach that.
    """
    y, x = np.mgrid[:160, :160]
    away = np.hypot(y - 80, x - 80)
    truth, taken = away < 40, np.where(away < 52, 0.9, 0.02).astype(np.float32)
    planes = np.zeros((7, 160, 160), np.float32)
    planes[:4] = taken
    rgb = np.where(truth[..., None] | (away > 52)[..., None], (90, 120, 60), (120, 90, 60)).astype(np.uint8)
    records = [RefinementSample(planes.astype(np.float16), rgb, (truth * 255).astype(np.uint8))]
    rng = np.random.default_rng(0)
    fitted = lucid._fitted(records, 150, rng, lambda _loss: None)
    pieces = batch_of([random_crop(rng, records[0], 128) for _ in range(12)])
    before, after = (float(loss(net(*pieces[:2]), pieces[0], pieces[2])) for net in (load_completion(), fitted))
    assert after < 0.9 * before


@pytest.mark.parametrize("size", [(1, 1), (3, 40), (160, 5), (7, 7), (128, 128)])
def test_crops_of_any_size_batch(size):
    """Crops of samples of any size form a batch."""
    rng = np.random.default_rng(0)
    planes = rng.uniform(0.1, 0.9, (7, *size)).astype(np.float16)
    record = RefinementSample(planes, rng.integers(0, 255, (*size, 3), np.uint8), rng.integers(0, 255, size, np.uint8))
    planes, rgb, truth = batch_of([random_crop(rng, record, 128) for _ in range(8)])
    assert planes.shape == (8, 7, 128, 128)
    assert rgb.shape == (8, 3, 128, 128)
    assert truth.shape == (8, 128, 128)


@pytest.mark.parametrize("dreams", [-1, 1001])
def test_adaptation_clips_and_gate_ranges(dreams):
    """The number of adaptation clips and the motion gate have ranges."""
    with pytest.raises(ConfigError, match=r"adaptation_clips must lie in 0\.\.1000"):
        RunConfig(adaptation_clips=dreams)
    with pytest.raises(ConfigError, match="must not be negative"):
        FusionConfig(motion_gate=-0.1)


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


def test_clips_alternate_and_record_samples(monkeypatch):
    """Synthetic clips alternate between references, are refined by the network, and are recorded with their truth."""
    whole = np.s_[:, :]
    begun, answers, kept = [], [], []

    class Asking:
        """Asks the network about every frame, as a session does."""

        def __init__(self, network):
            self.network = network

        def add_reference(self, frame, mask):
            begun.append((frame, mask))

        def follow(self, frames):
            for frame in frames:
                size = frame.rgb.shape[:2]
                features = SimpleNamespace(
                    frame=frame, region=SimpleNamespace(box=whole), mask_size=size, mask_image=frame.rgb
                )
                answers.append(self.network(features, whole, np.zeros((7, *size), np.float32)))
                yield frame

    def fitted(records, steps, rng, told):
        kept.extend(records)
        return steps

    monkeypatch.setattr(lucid, "_fitted", fitted)
    small, large = red_on_blue(48, 64), red_on_blue(64, 80)

    def network(_state, _box, planes):
        return np.full(planes.shape[1:], 2.5, np.float32)

    assert lucid.adapt([small, large], 3, Asking, network, 0, lambda _loss: None) == 3 * lucid._STEPS
    assert [mask.rows.shape for _, mask in begun] == [(48, 64), (64, 80), (48, 64)]
    assert len(answers) == 3 * (lucid._FRAMES - 1)
    assert all((answer == 2.5).all() for answer in answers)
    assert len(kept) == 3 * (lucid._FRAMES // 2)
    red = [piece.rgb[..., 0].astype(int) > piece.rgb[..., 2] for piece in kept]
    agreed = [region_j(r, piece.truth > 127) for r, piece in zip(red, kept, strict=True)]
    assert np.mean(agreed) > 0.9  # both halves of the thing are the thing


def test_thin_part_stays_visible():
    """A part a pixel thin stays visible in the images, not only in the labels."""
    rgb, rows = np.zeros((48, 64, 3), np.uint8), np.zeros((48, 64), np.int16)
    rgb[10], rows[10] = 255, 1
    found = dream_clip(
        Annotation(rgb, rows, make_parts(MaskFile(rows.astype(np.int32), {}))), 2, np.random.default_rng(0)
    )
    assert found.rgb[0][10].mean() > 150


def test_tiny_part_keeps_full_size():
    """A part that would vanish in a reduced image keeps the full size."""
    rgb, rows = np.zeros((1440, 1500, 3), np.uint8), np.zeros((1440, 1500), np.int16)
    rows[720, 750] = 1
    found = dream_clip(
        Annotation(rgb, rows, make_parts(MaskFile(rows.astype(np.int32), {}))), 2, np.random.default_rng(0)
    )
    assert np.array_equal(found.rows[0], rows)
