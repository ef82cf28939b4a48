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
def test_odds_against_the_background_grow_by_what_is_added_and_parts_keep_their_shares(count, added, seed):
    soft = np.random.default_rng(seed).dirichlet(np.ones(count), (3, 4)).transpose(2, 0, 1).astype(np.float32)
    soft = (soft + 1e-3) / (soft + 1e-3).sum(0)
    found = with_log_odds(soft, np.full((3, 4), added, np.float32))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found.sum(0), 1, atol=1e-5)
    before, after = (np.log(labels[1:].sum(0) / labels[0]) for labels in (soft, found))
    np.testing.assert_allclose(after, before + added, atol=1e-3)
    np.testing.assert_allclose(found[1:] / found[1:].sum(0), soft[1:] / soft[1:].sum(0), atol=1e-5)


@given(st.floats(-6, 6, width=32), st.floats(-6, 6, width=32), st.floats(0, 3, width=32))
def test_the_less_sure_of_two_witnesses_is_carried_on(looks, motion, feedback):
    found = propagated_log_odds(np.full((1, 1), looks, np.float32), np.full((1, 1), motion, np.float32), feedback)
    expected = min(looks, -motion * feedback) if looks > 0 and motion < 0 else 0.0
    assert found.item() == pytest.approx(expected, rel=1e-5)


def test_without_motion_nothing_is_carried_on():
    assert not propagated_log_odds(np.ones((2, 3), np.float32), None, 1.0).any()


@pytest.mark.parametrize(
    ("feedback", "motion", "completion", "carried"),
    [(1.0, -3.0, 4.0, 2.0), (1.0, -1.5, 4.0, 1.5), (0.5, -3.0, 4.0, 1.5), (1.0, -3.0, 0.5, 0.5), (1.0, 3.0, 4.0, 0.0)],
)
def test_what_both_looks_and_motion_say_is_carried_on(tiny, disc, monkeypatch, feedback, motion, completion, carried):
    moving(monkeypatch, motion)
    fusion = {"motion_gate": feedback, "refinement_limit": completion, "color_weight": 0.0}
    with_it, without = (first_step(tiny, disc, Constant(value), **fusion)[0] for value in (2.0, 0.0))
    changed = np.abs(with_it - without).max(0) > 1e-6
    assert changed.any() == bool(carried)
    odds = np.full(without.shape[1:], carried, np.float32)
    np.testing.assert_allclose(with_it[:, changed], with_log_odds(without, odds)[:, changed], atol=1e-5)


def test_motion_alone_speaks_for_no_part(tiny, disc, monkeypatch):
    found = []
    for odds in (0.0, -4.0):
        moving(monkeypatch, odds)
        found.append(first_step(tiny, disc, Constant(0.0), color_weight=0.0)[0])
    assert np.array_equal(*found)


def test_what_is_carried_on_is_not_shown_twice(tiny, disc, monkeypatch):
    """Of the first frame the same is shown, however much of it is carried on."""
    moving(monkeypatch, -2.0)
    (kept, alone), (fed, together) = (
        first_step(tiny, disc, Constant(1.0), motion_gate=feedback) for feedback in (0.0, 1.0)
    )
    assert np.abs(kept - fed).max() > 0.05
    np.testing.assert_allclose(alone, together, atol=1e-5)


def test_colours_are_carried_on_without_a_network(tiny, disc, monkeypatch):
    found = []
    for feedback in (0.0, 1.0):
        moving(monkeypatch, -2.0)
        one = session(tiny, Constant(0.0), refinement_limit=0.0, color_weight=1.0, motion_gate=feedback)
        one.add_reference(*disc(0))
        one.step(disc(1)[0])
        found.append(one.snapshot()["soft"][1].sum())
    assert found[1] > found[0] + 1


def test_a_frame_asked_again_where_nothing_is_undecided_shows_nothing_of_before(tiny, disc, monkeypatch):
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
def test_the_network_sees_motion_for_parts_as_strong_as_in_its_training(tiny, disc, monkeypatch, motion, plane):
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
def test_every_preset_carries_on_what_both_witnesses_say(name):
    fusion = preset(name).fusion
    assert fusion.motion_gate > 0
    assert fusion.background_motion_weight > 0
    assert fusion.color_weight > 0


def test_motion_whose_limit_is_nothing_says_nothing(tiny, disc):
    found = [
        first_step(tiny, disc, Constant(1.0), **one)[1]
        for one in ({"background_motion_weight": 0.0}, {"background_motion_weight": 1e-9})
    ]
    assert np.isfinite(found[1]).all()
    np.testing.assert_allclose(*found, atol=1e-6)
