"""Input channels of the refinement network."""

from __future__ import annotations

import numpy as np
import pytest

from slimevid.config import FusionConfig, RunConfig
from slimevid.cues.color_model import ColorModel
from slimevid.fusion.motion_gate import with_log_odds
from slimevid.refinement.network import INPUT_CHANNELS
from slimevid.session.segmenter import Segmenter
from tests.slimevid.fusion.motion_cases import first_step, set_motion
from tests.slimevid.sessions import (
    ConstantRefiner,
    RecordingRefiner,
    quick_learning,
    refined_session,
    unfiltered_session,
)


def test_network_receives_all_cues(tiny, disc):
    """The network receives every cue in the uncertain box."""
    adding = RecordingRefiner(0.0)
    one = refined_session(tiny, adding, color_weight=0.4, motion_gate=0.0)
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
    adding = RecordingRefiner(0.0)
    config = RunConfig(
        network_size=64,
        mask_size=48,
        learn=quick_learning(10),
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


@pytest.mark.parametrize(("motion", "plane"), [(4.0, 1.0), (2.0, 0.5), (-1.0, -0.25), (-4.0, -0.5)])
def test_motion_plane_limited_as_in_training(tiny, disc, monkeypatch, motion, plane):
    """The network receives motion for the foreground as limited as in its training."""
    set_motion(monkeypatch, motion)
    seen = []

    def network(_state, _box, planes):
        seen.append(planes[INPUT_CHANNELS.index("motion")].copy())
        return np.zeros(planes.shape[1:], np.float32)

    one = unfiltered_session(tiny, network)
    one.add_reference(*disc(0))
    one.step(disc(1)[0])
    np.testing.assert_allclose(seen[0], plane, atol=1e-6)


def test_negligible_motion_weight_equals_none(tiny, disc):
    """A negligible weight of motion is the same as none."""
    found = [
        first_step(tiny, disc, ConstantRefiner(1.0), **one)[1]
        for one in ({"background_motion_weight": 0.0}, {"background_motion_weight": 1e-9})
    ]
    assert np.isfinite(found[1]).all()
    np.testing.assert_allclose(*found, atol=1e-6)
