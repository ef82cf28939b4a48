"""Clips and records the refinement network is trained on."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from slimecore.backbones import load_model
from slimevid.config import preset
from slimevid.frame.search_region import SearchRegion
from slimevid.refinement.network import INPUT_CHANNELS
from tests.training.records import record
from training.completion_data import Recorder, _segmented, draw, read_records
from training.textures import TextureBank


def test_drawn_clip_independent_of_history():
    """A clip is the same whatever was drawn before."""
    bank = TextureBank((3, 7))
    draw(3, 0, 2, 64, bank)
    rgb, masks = draw(3, 1, 2, 64, bank)
    again, masks_again = draw(3, 1, 2, 64, TextureBank((3, 7)))
    assert np.array_equal(rgb, again)
    assert np.array_equal(masks, masks_again)
    assert rgb.shape[:3] == masks.shape
    assert masks[0].mean() >= 0.01
    assert masks.any((1, 2)).all()


def test_recorded_truth_aligned_with_evidence():
    """Recorded truth is aligned with the evidence."""
    rng = np.random.default_rng(0)
    masks = np.zeros((2, 40, 60), bool)
    masks[1] = rng.random((40, 60)) < 0.5
    rgb = np.repeat(np.where(masks[1], 255, 0)[..., None], 3, 2).astype(np.uint8)
    window = SearchRegion(4, 6, 32, 48)
    state = SimpleNamespace(
        frame=SimpleNamespace(index=1), region=window, mask_size=(32, 48), mask_image=rgb[4:36, 6:54].copy()
    )
    recorder = Recorder(masks)
    box = (slice(5, 20), slice(7, 40))
    added = recorder(state, box, np.zeros((len(INPUT_CHANNELS), 15, 33), np.float32))
    assert not added.any()
    (kept,) = recorder.records
    assert np.array_equal(kept.truth, kept.rgb[..., 0])
    assert np.array_equal(kept.truth > 0, masks[1][9:24, 13:46])
    state.frame.index = 2
    recorder(state, box, np.zeros((len(INPUT_CHANNELS), 15, 33), np.float32))
    assert len(recorder.records) == 1


def test_records_round_trip(tmp_path):
    """Records come back as they were written."""
    one = record(4)
    np.savez_compressed(tmp_path / "0.npz", **{f"0.{n}": getattr(one, n) for n in ("planes", "rgb", "truth")})
    (found,) = read_records(tmp_path / "0.npz")
    assert all(np.array_equal(getattr(one, n), getattr(found, n)) for n in ("planes", "rgb", "truth"))


@pytest.mark.parametrize("name", ["fast", "balanced", "quality"])
def test_every_preset_records_samples(name):
    """Every preset is recorded, also presets without the refinement network or with test-time adaptation."""
    rgb, masks = draw(3, 0, 3, 96, TextureBank((3, 7)))
    config = preset(name)
    records = _segmented(rgb, masks, name, load_model(config.model, config.device, config.seed))
    assert len(records) == 1  # of frame 1: every third
    assert records[0].planes.shape[0] == len(INPUT_CHANNELS)
    assert np.ptp(records[0].planes[INPUT_CHANNELS.index("colours")].astype(float)) > 0.5
