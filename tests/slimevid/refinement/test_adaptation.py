"""Adaptation of the refinement network to synthetic clips."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.metrics.davis import region_j
from slimevid.config import FusionConfig, RunConfig
from slimevid.refinement import adaptation as lucid
from slimevid.refinement.network import load_completion
from slimevid.refinement.samples import RefinementSample, batch_of, loss, random_crop
from slimevid.session import learning as teaching
from slimevid.session.segmenter import Segmenter
from tests.slimevid.refinement.annotations import red_on_blue

QUICK = LearnConfig(tokens=2, steps=5, views=ViewConfig(count=1))
SMALL = RunConfig(network_size=64, mask_size=48, learn=QUICK, adaptation_clips=2)


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(lucid, "_STEPS_PER_CLIP", 2)
    monkeypatch.setattr(lucid, "_CLIP_FRAMES", 4)


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
    fitted = lucid._fine_tune(records, 150, rng, lambda _loss: None)
    pieces = batch_of([random_crop(rng, records[0], 128) for _ in range(12)])
    before, after = (float(loss(net(*pieces[:2]), pieces[0], pieces[2])) for net in (load_completion(), fitted))
    assert after < 0.9 * before


def test_clips_alternate_and_record_samples(monkeypatch):
    """Synthetic clips alternate between references, are refined by the network, and are recorded with their truth."""
    whole = np.s_[:, :]
    begun, answers, kept = [], [], []

    class Asking:
        """Calls the network for every frame, as a session does."""

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

    monkeypatch.setattr(lucid, "_fine_tune", fitted)
    small, large = red_on_blue(48, 64), red_on_blue(64, 80)

    def network(_state, _box, planes):
        return np.full(planes.shape[1:], 2.5, np.float32)

    assert lucid.adapt([small, large], 3, Asking, network, 0, lambda _loss: None) == 3 * lucid._STEPS_PER_CLIP
    assert [mask.rows.shape for _, mask in begun] == [(48, 64), (64, 80), (48, 64)]
    assert len(answers) == 3 * (lucid._CLIP_FRAMES - 1)
    assert all((answer == 2.5).all() for answer in answers)
    assert len(kept) == 3 * (lucid._CLIP_FRAMES // 2)
    red = [piece.rgb[..., 0].astype(int) > piece.rgb[..., 2] for piece in kept]
    agreed = [region_j(r, piece.truth > 127) for r, piece in zip(red, kept, strict=True)]
    assert np.mean(agreed) > 0.9  # both halves of the thing are the thing
