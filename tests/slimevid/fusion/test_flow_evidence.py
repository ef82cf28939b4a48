"""Distance from the parts as evidence: parts are near their predicted positions unless a part is gone."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from slimecore.learning.probe_config import LearnConfig, ViewConfig
from slimecore.types import Frame
from slimevid.config import FusionConfig, RunConfig
from slimevid.cues.spatial_prior import distance_penalty
from slimevid.fusion import flow_evidence
from slimevid.refinement.network import INPUT_CHANNELS
from slimevid.session.segmenter import Segmenter

QUICK = LearnConfig(tokens=2, steps=10, views=ViewConfig(count=1))
HEIGHT, WIDTH = 64, 160
LEFT, RIGHT = (32, 28), (32, 130)  # rows and columns of centres: more than twice the reach apart


@pytest.fixture(scope="module")
def ground():
    return np.random.default_rng(0).integers(60, 120, (HEIGHT, WIDTH, 3)).astype(np.uint8)


def picture(ground, *centres):
    """Return an image of red discs on a rough background."""
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
    """Return the share of a disc that has the part's label."""
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
