"""What looks add: shown in full, carried on where motion vouches for it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.types import Frame
from slimevid.config import FusionConfig, RunConfig, preset
from slimevid.frame.features import FrameFeatures
from slimevid.fusion import flow_evidence
from slimevid.fusion.motion_gate import propagated_log_odds, with_log_odds
from slimevid.propagators import fused
from slimevid.refinement.network import INPUT_CHANNELS
from slimevid.session.segmenter import Segmenter

QUICK = LearnConfig(tokens=2, steps=10, views=ViewConfig(count=1))


class Constant:
    """A completing network that says the same everywhere, and counts how often it is asked."""

    def __init__(self, value: float) -> None:
        self.value, self.asked = value, 0

    def __call__(self, _state, _box, planes):
        self.asked += 1
        return np.full(planes.shape[1:], self.value, np.float32)


def session(tiny, network, **fusion):
    chosen = FusionConfig(**{"search_radius": 0.0, "guided_filter_radius": 0, **fusion})
    return Segmenter(
        RunConfig(network_size=64, mask_size=48, max_zoom=1.0, learn=QUICK, fusion=chosen), tiny, refiner=network
    )


def first_step(tiny, disc, network, **fusion):
    """Labels that are carried on after one frame, and those shown of it. Masks are as large as the frame."""
    one = session(tiny, network, **fusion)
    one.add_reference(*disc(0))
    one.step(disc(1)[0])
    assert network.asked == 1
    return one.snapshot()["soft"], one.soft


def moving(monkeypatch, odds):
    """Motion says the same everywhere."""
    monkeypatch.setattr(
        flow_evidence, "background_log_odds", lambda departures, *_: np.full(departures.shape, odds, np.float32)
    )


@given(st.integers(2, 5), st.floats(-8, 8), st.integers(0, 2**32 - 1))
def test_added_odds_keep_part_shares(count, added, seed):
    """Added log-odds raise the foreground by their amount, and parts keep their shares."""
    soft = np.random.default_rng(seed).dirichlet(np.ones(count), (3, 4)).transpose(2, 0, 1).astype(np.float32)
    soft = (soft + 1e-3) / (soft + 1e-3).sum(0)
    found = with_log_odds(soft, np.full((3, 4), added, np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    before, after = (np.log(labels[1:].sum(0) / labels[0]) for labels in (soft, found))
    np.testing.assert_allclose(after, before + added, atol=1e-3)
    np.testing.assert_allclose(found[1:] / found[1:].sum(0), soft[1:] / soft[1:].sum(0), atol=1e-5)


@given(st.floats(-6, 6, width=32), st.floats(-6, 6, width=32), st.floats(0, 3, width=32))
def test_smaller_of_two_cues_propagated(looks, motion, feedback):
    """The smaller of appearance and motion is propagated."""
    found = propagated_log_odds(np.full((1, 1), looks, np.float32), np.full((1, 1), motion, np.float32), feedback)
    expected = min(looks, -motion * feedback) if looks > 0 and motion < 0 else 0.0
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_without_motion_nothing_propagated():
    """Without motion nothing of the appearance is propagated."""
    assert not propagated_log_odds(np.ones((2, 3), np.float32), None, 1.0).any()


@pytest.mark.parametrize(
    ("feedback", "motion", "completion", "carried"),
    [(1.0, -3.0, 4.0, 2.0), (1.0, -1.5, 4.0, 1.5), (0.5, -3.0, 4.0, 1.5), (1.0, -3.0, 0.5, 0.5), (1.0, 3.0, 4.0, 0.0)],
)
def test_appearance_confirmed_by_motion_propagated(tiny, disc, monkeypatch, feedback, motion, completion, carried):
    """Appearance that motion confirms is propagated."""
    moving(monkeypatch, motion)
    fusion = {"motion_gate": feedback, "refinement_limit": completion, "color_weight": 0.0}
    with_it, without = (first_step(tiny, disc, Constant(value), **fusion)[0] for value in (2.0, 0.0))
    changed = np.abs(with_it - without).max(0) > 1e-6
    assert changed.any() == bool(carried)
    odds = np.full(without.shape[1:], carried, np.float32)
    np.testing.assert_allclose(with_it[:, changed], with_log_odds(without, odds)[:, changed], atol=1e-5)


def test_motion_alone_adds_no_foreground(tiny, disc, monkeypatch):
    """Motion alone adds nothing to the foreground."""
    found = []
    for odds in (0.0, -4.0):
        moving(monkeypatch, odds)
        found.append(first_step(tiny, disc, Constant(0.0), color_weight=0.0)[0])
    assert np.array_equal(*found)


def test_propagated_odds_not_displayed_twice(tiny, disc, monkeypatch):
    """Propagated log-odds are not displayed twice.

    Of the first frame the same is displayed, however much of it is propagated.
    """
    moving(monkeypatch, -2.0)
    (kept, alone), (fed, together) = (
        first_step(tiny, disc, Constant(1.0), motion_gate=feedback) for feedback in (0.0, 1.0)
    )
    assert np.abs(kept - fed).max() > 0.05
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_colors_propagated_without_network(tiny, disc, monkeypatch):
    """Colour is propagated without a network, too."""
    found = []
    for feedback in (0.0, 1.0):
        moving(monkeypatch, -2.0)
        one = session(tiny, Constant(0.0), refinement_limit=0.0, color_weight=1.0, motion_gate=feedback)
        one.add_reference(*disc(0))
        one.step(disc(1)[0])
        found.append(one.snapshot()["soft"][1].sum())
    assert found[1] > found[0] + 1


def test_relabelled_frame_drops_old_correction(tiny, disc, monkeypatch):
    """A frame labelled again where no pixel is uncertain displays no earlier correction."""
    one = session(tiny, Constant(1.0))
    one.add_reference(*disc(0))
    features = FrameFeatures(Frame(1, disc(1)[0], "1"), one.config, tiny, 1)
    propagator = one._stream.tracker._propagator
    first = propagator.step(features)
    assert first.correction is not None
    assert np.array_equal(first.displayed, first.correction.applied_to(first.labels))
    monkeypatch.setattr(fused, "solve_labels", lambda _evidence, _grid, _size, previous, *_: (previous, None))
    again = propagator.step(features)
    assert again.correction is None
    assert again.displayed is again.labels


@pytest.mark.parametrize(("motion", "plane"), [(4.0, 1.0), (2.0, 0.5), (-1.0, -0.25), (-4.0, -0.5)])
def test_motion_plane_limited_as_in_training(tiny, disc, monkeypatch, motion, plane):
    """The network receives motion for the foreground as limited as in its training."""
    moving(monkeypatch, motion)
    seen = []

    def network(_state, _box, planes):
        seen.append(planes[INPUT_CHANNELS.index("motion")].copy())
        return np.zeros(planes.shape[1:], np.float32)

    one = session(tiny, network)
    one.add_reference(*disc(0))
    one.step(disc(1)[0])
    np.testing.assert_allclose(seen[0], plane, atol=1e-6)


@pytest.mark.parametrize("name", ["fast", "balanced", "quality"])
def test_presets_open_motion_gate(name):
    """Every preset propagates appearance that motion confirms."""
    fusion = preset(name).fusion
    assert fusion.motion_gate > 0
    assert fusion.background_motion_weight > 0
    assert fusion.color_weight > 0


def test_negligible_motion_weight_equals_none(tiny, disc):
    """A negligible weight of motion is the same as none."""
    found = [
        first_step(tiny, disc, Constant(1.0), **one)[1]
        for one in ({"background_motion_weight": 0.0}, {"background_motion_weight": 1e-9})
    ]
    assert np.isfinite(found[1]).all()
    np.testing.assert_allclose(*found, atol=1e-6)
