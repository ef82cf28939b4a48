"""Where parts can be found next: near where they were, unless some of them are gone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slimecore.errors import ConfigError
from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.types import Frame
from slimevid.config import FusionConfig, RunConfig
from slimevid.cues.spatial_prior import all_parts_visible, distance_penalty, running_max_area
from slimevid.fusion import flow_evidence
from slimevid.refinement.network import INPUT_CHANNELS
from slimevid.session.segmenter import Segmenter

QUICK = LearnConfig(tokens=2, steps=10, views=ViewConfig(count=1))
HEIGHT, WIDTH = 64, 160
LEFT, RIGHT = (32, 28), (32, 130)  # rows and columns of centres: more than twice the reach apart


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 0.6))
def test_penalty_matches_naive_distance(seed, reach):
    """Pixels far from the parts are penalised by their distance."""
    generator = np.random.default_rng(seed)
    there = np.zeros((24, 31), bool)
    there[generator.integers(0, 24, 3), generator.integers(0, 31, 3)] = True
    places = np.stack(np.mgrid[:24, :31], -1)[:, :, None]
    distance = np.linalg.norm(places - np.argwhere(there), axis=-1).min(2) / (reach * 24)
    found = distance_penalty(there, reach)
    assert found.dtype == np.float32
    assert not found[there].any()
    # OpenCV's distance is a twentieth off at most.
    np.testing.assert_array_compare(np.less_equal, found, 8 * np.clip(1.06 * distance - 1, 0, 1) + 1e-4)
    np.testing.assert_array_compare(np.greater_equal, found, 8 * np.clip(0.94 * distance - 1, 0, 1) - 1e-4)


def test_no_penalty_without_parts():
    """Without expected parts nothing is penalised."""
    assert not distance_penalty(np.zeros((4, 5), bool), 0.1).any()


def test_halved_part_counts_as_gone():
    """A slowly shrinking part is visible. A part that loses half its area counts as gone for a number of frames."""
    lately = running_max_area(np.array([100.0, 50.0]), np.zeros(2))
    assert all_parts_visible(np.array([100.0, 50.0]), lately)
    lately = running_max_area(np.array([98.5, 50.0]), lately)
    assert all_parts_visible(np.array([98.5, 50.0]), lately)
    gone = []
    for _ in range(40):
        areas = np.array([98.5, 25.0])
        lately = running_max_area(areas, lately)
        gone.append(not all_parts_visible(areas, lately))
    assert gone[0]
    assert 10 < sum(gone) < 20
    assert gone == sorted(gone, reverse=True)


def test_empty_part_stays_gone():
    """A part without pixels is gone, however long ago it was visible."""
    assert not all_parts_visible(np.zeros(1), np.zeros(1))


@pytest.fixture(scope="module")
def ground():
    return np.random.default_rng(0).integers(60, 120, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def picture(ground, *centres):
    """Red discs on a rough ground."""
    rgb = ground.copy()
    for row, column in centres:
        cv2.circle(rgb, (column, row), 10, (230, 40, 40), -1)
    return rgb


def session(tiny, ground, network=None, flow_size=64, **fusion):
    chosen = FusionConfig(refinement_limit=4.0 if network else 0.0, **fusion)
    config = RunConfig(network_size=64, mask_size=64, flow_size=flow_size, max_zoom=1, learn=QUICK, fusion=chosen)
    one = Segmenter(config, tiny, refiner=network)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(mask, LEFT[::-1], 10, 1, -1)
    one.add_reference(picture(ground, LEFT), mask)
    return one


def share(labels, centre):
    """Of a disc that has the part's label."""
    disc = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(disc, centre[::-1], 9, 1, -1)
    return (labels[disc > 0] == 1).mean()


def test_distant_lookalike_rejected_while_part_visible(tiny, ground):
    """A distant look-alike is not labelled while the part is visible."""
    found = {}
    for reach in (0.0, 0.1):
        one = session(tiny, ground, search_radius=reach)
        for _ in range(3):
            labels = one.step(picture(ground, LEFT, RIGHT)).labels
        found[reach] = share(labels, LEFT), share(labels, RIGHT)
    assert min(found[0.0]) > 0.8, "without the rule both are the part"
    assert found[0.1][0] > 0.8
    assert found[0.1][1] == 0


def test_no_penalty_while_part_leaves(tiny, ground, monkeypatch):
    """While a part goes out of sight distant pixels are not penalised, not even after a resume."""
    asked = []
    monkeypatch.setattr(
        flow_evidence, "distance_penalty", lambda there, reach: asked.append(reach) or distance_penalty(there, reach)
    )
    one, other = (session(tiny, ground, search_radius=0.1) for _ in range(2))
    held = []
    for column in range(LEFT[1], -16, -4):
        asked.clear()
        here = picture(ground, (LEFT[0], column))
        labels = one.step(here).labels
        held.append(bool(asked))
    assert all(held[:4])
    assert not any(held[-2:])
    assert held == sorted(held, reverse=True)
    assert one.snapshot()["areas"] > (labels == 1).sum()
    other.restore(one.snapshot())
    asked.clear()
    other.step(picture(ground))
    assert not asked, "a resumed run forgot what is gone"


def test_restart_forgets_part_areas(tiny, ground):
    """Another pass from the reference starts without recent areas."""
    one = session(tiny, ground, search_radius=0.1)
    begun = one.snapshot()["areas"]
    one.step(picture(ground, LEFT))
    assert one.snapshot()["areas"].any()
    one.start(0)
    assert not one.snapshot()["areas"].any()
    assert not begun.any()


@pytest.mark.parametrize("reach", [-0.1, -1.0])
def test_negative_search_radius_refused(reach):
    """A negative search radius is refused."""
    with pytest.raises(ConfigError, match="must not be negative"):
        FusionConfig(search_radius=reach)


def test_penalty_independent_of_motion_weight(tiny, ground):
    """Without background motion distant pixels are penalised all the same."""
    one = session(tiny, ground, search_radius=0.1, background_motion_weight=0.0)
    for _ in range(3):
        labels = one.step(picture(ground, LEFT, RIGHT)).labels
    assert share(labels, RIGHT) == 0


def test_distance_penalty_saturates_motion_plane(tiny, ground, monkeypatch):
    """The network receives distant pixels as certain background motion."""
    monkeypatch.setattr(
        flow_evidence, "background_log_odds", lambda departures, *_: np.full(departures.shape, 2.0, np.float32)
    )
    monkeypatch.setattr(flow_evidence, "distance_penalty", lambda there, _reach: np.full(there.shape, 6.0, np.float32))
    seen = []

    def network(_state, _box, planes):
        seen.append(planes[INPUT_CHANNELS.index("motion")].copy())
        return np.zeros(planes.shape[1:], np.float32)

    session(tiny, ground, network, search_radius=0.1).step(picture(ground, LEFT))
    np.testing.assert_allclose(seen[0], 1, atol=1e-6)


@pytest.mark.parametrize("side", [32, 48, 64])
def test_areas_in_frame_pixels(tiny, ground, side):
    """Areas are in pixels of the frame, whatever the size of the flow."""
    one = session(tiny, ground, flow_size=side, search_radius=0.1)
    one.step(picture(ground, LEFT))
    assert one.snapshot()["areas"] == pytest.approx(np.pi * 10**2, rel=0.15)


def test_no_penalty_while_small_part_gone(tiny, ground, monkeypatch):
    """While a small part of several is gone, distant pixels are not penalised."""
    asked = []
    monkeypatch.setattr(
        flow_evidence, "distance_penalty", lambda there, reach: asked.append(reach) or distance_penalty(there, reach)
    )

    def small(row):
        return cv2.circle(picture(ground, LEFT), (RIGHT[1], row), 5, (40, 40, 230), -1)

    one = session(tiny, ground, search_radius=0.1)
    mask = np.zeros((HEIGHT, WIDTH), np.uint8)
    cv2.circle(mask, LEFT[::-1], 10, 1, -1)
    cv2.circle(mask, RIGHT[::-1], 5, 2, -1)
    one.add_reference(Frame(0, small(RIGHT[0]), "0"), mask)
    held = []
    for row in range(RIGHT[0], HEIGHT + 24, 4):
        asked.clear()
        one.step(small(row))
        held.append(bool(asked))
    assert all(held[:4])
    assert not any(held[-2:])
