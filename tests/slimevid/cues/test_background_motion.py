"""Motion as evidence: against a part, and for it."""

import numpy as np
import pytest

from slimevid.cues.background_motion import background_log_odds, residual_motion

SIZE = (60, 80)
BOX = (slice(20, 40), slice(30, 50))


def scene(dx, noise=0.02):
    """A picture zooming and turning about its centre, and a box that moves `dx` pixels on top of that."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    flow = np.stack([0.02 * (x - 40) - 0.01 * (y - 30) + 1, 0.01 * (x - 40) + 0.02 * (y - 30) - 2], -1)
    flow += np.random.default_rng(0).normal(0, noise, flow.shape).astype(np.float32)
    flow[BOX] += (dx, 0)
    labels = np.zeros((2, *SIZE), np.float32)
    labels[1][BOX] = 1
    labels[0] = 1 - labels[1]
    return flow.astype(np.float32), labels


def against(flow, labels, trust=1.0):
    """Odds (h, w) of one frame; a place belongs to the part with the most of what it is."""
    nearest = labels[1:].argmax(0).astype(np.uint8)
    trusted = np.full(SIZE, trust, np.float32)
    return background_log_odds(residual_motion(flow, labels[0]), labels[0], nearest, trusted)


def test_departures_are_those_of_what_moves_by_itself():
    flow, labels = scene(3.0)
    found = residual_motion(flow, labels[0])
    assert np.median(found[labels[0] > 0]) < 0.1
    assert np.median(found[BOX]) == pytest.approx(3.0, abs=0.1)


def test_the_fit_is_not_drawn_by_unmarked_movers():
    """A fifth of what is called background moves by itself."""
    flow, labels = scene(0.0)
    flow[20:50, 10:40] += 5
    found = residual_motion(flow, labels[0])
    assert np.median(found[:, 45:]) < 0.1
    assert np.median(found[22:48, 12:38]) > 4


def test_too_little_background_says_nothing():
    flow, _ = scene(3.0)
    assert residual_motion(flow, np.zeros(SIZE, np.float32)) is None


def test_a_still_patch_in_the_mask_of_a_mover_is_doubted():
    flow, labels = scene(3.0)
    labels[1][5:12, 5:12], labels[0][5:12, 5:12] = 1, 0  # wrongly labelled background
    odds = against(flow, labels)
    assert odds.shape == SIZE
    assert odds[5:12, 5:12].min() > 1
    assert odds[BOX].max() < 0.1
    assert odds.min() >= -4
    assert odds.max() <= 4


def test_a_part_that_moves_as_the_background_is_left_alone():
    flow, labels = scene(0.0)
    assert against(flow, labels)[BOX].mean() < 0.3


def test_each_part_is_judged_by_its_own_motion():
    """Of two parts one moves, one does not: still pixels count against the first only."""
    flow, two = scene(3.0)
    labels = np.stack([two[0], two[1], np.zeros(SIZE, np.float32)])
    still, lost = (slice(44, 58), slice(5, 30)), (slice(5, 15), slice(30, 50))
    labels[2][still] = labels[1][lost] = 1  # what is lost has stood still since, and is still called the first part
    labels[0] = 1 - labels[1:].sum(0)
    odds = against(flow, labels)
    assert odds[lost].mean() > 1
    assert odds[still].mean() < 0.4


def test_of_a_part_of_a_few_pixels_motion_says_nothing():
    flow, two = scene(3.0)
    labels = np.stack([two[0], two[1], np.zeros(SIZE, np.float32)])
    spot = (slice(5, 8), slice(5, 8))
    labels[2][spot] = 1
    labels[0] = 1 - labels[1:].sum(0)
    flow[spot] += 9
    nearest = np.zeros(SIZE, np.uint8)
    nearest[:15] = 1
    odds = background_log_odds(residual_motion(flow, labels[0]), labels[0], nearest, np.ones(SIZE, np.float32))
    assert not odds[:15].any()
    assert odds[15:].any()


def test_untrusted_flow_says_nothing():
    flow, labels = scene(3.0)
    assert not against(flow, labels, trust=0.0).any()


def test_motion_speaks_for_what_the_mask_has_lost_of_a_mover():
    flow, labels = scene(3.0)
    labels[1][:, 40:], labels[0][:, 40:] = 0, 1
    odds = against(flow, labels)
    lost = (BOX[0], slice(40, 50))
    assert odds[lost].max() < -1
    assert odds[labels[0] > 0].max() > 0.1  # of the background's own places it says the contrary
    assert np.median(odds[:15]) > 0.1


@pytest.mark.parametrize("which", range(6))
def test_a_motion_of_second_degree_is_the_backgrounds_own(which):
    """Each term of the polynomial alone is fitted, and drawn where it belongs: nothing departs from it."""
    y, x = np.meshgrid(np.linspace(-1, 1, 48), np.linspace(-1, 1, 64), indexing="ij")
    term = [np.ones_like(x), x, y, x * x, x * y, y * y][which]
    flow = np.stack([3 * term, -2 * term], -1).astype(np.float32)
    found = residual_motion(flow, np.ones((48, 64), np.float32))
    assert found is not None
    assert found.max() < 1e-3
