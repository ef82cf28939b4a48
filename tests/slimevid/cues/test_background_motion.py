"""Background motion as evidence against a part, and for it."""

import numpy as np
import pytest

from slimevid.cues.background_motion import background_log_odds, residual_motion

SIZE = (60, 80)
BOX = (slice(20, 40), slice(30, 50))


def scene(dx, noise=0.02):
    """Return the flow and labels of a zoom and turn about the centre, with a box that moves `dx` pixels more."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]].astype(np.float32)
    flow = np.stack([0.02 * (x - 40) - 0.01 * (y - 30) + 1, 0.01 * (x - 40) + 0.02 * (y - 30) - 2], -1)
    flow += np.random.default_rng(0).normal(0, noise, flow.shape).astype(np.float32)
    flow[BOX] += (dx, 0)
    labels = np.zeros((2, *SIZE), np.float32)
    labels[1][BOX] = 1
    labels[0] = 1 - labels[1]
    return flow.astype(np.float32), labels


def against(flow, labels, trust=1.0):
    """Return the log-odds (h, w) of the background. A pixel belongs to its likeliest part."""
    nearest = labels[1:].argmax(0).astype(np.uint8)
    trusted = np.full(SIZE, trust, np.float32)
    return background_log_odds(residual_motion(flow, labels[0]), labels[0], nearest, trusted)


def test_residual_is_independent_motion():
    """The residual is the motion of whatever moves independently."""
    flow, labels = scene(3.0)
    found = residual_motion(flow, labels[0])
    assert np.median(found[labels[0] > 0]) < 0.1
    assert np.median(found[BOX]) == pytest.approx(3.0, abs=0.1)


def test_fit_robust_to_unlabelled_movers():
    """The fit is robust to unlabelled moving objects.

    A fifth of the labelled background moves independently.
    """
    flow, labels = scene(0.0)
    flow[20:50, 10:40] += 5
    found = residual_motion(flow, labels[0])
    assert np.median(found[:, 45:]) < 0.1
    assert np.median(found[22:48, 12:38]) > 4


def test_too_little_background_gives_none():
    """Too little background gives no residual."""
    flow, _ = scene(3.0)
    assert residual_motion(flow, np.zeros(SIZE, np.float32)) is None


def test_still_patch_of_mover_penalised():
    """A still patch in the mask of a moving part is penalised."""
    flow, labels = scene(3.0)
    labels[1][5:12, 5:12], labels[0][5:12, 5:12] = 1, 0  # wrongly labelled background
    odds = against(flow, labels)
    assert odds.shape == SIZE
    assert odds[5:12, 5:12].min() > 1
    assert odds[BOX].max() < 0.1
    assert odds.min() >= -4
    assert odds.max() <= 4


def test_part_moving_with_background_spared():
    """A part that moves with the background is not penalised."""
    flow, labels = scene(0.0)
    assert against(flow, labels)[BOX].mean() < 0.3


def test_parts_judged_by_own_motion():
    """Each part is judged by its own motion.

    Of two parts the first moves and the second does not: still pixels count against the first only.
    """
    flow, two = scene(3.0)
    labels = np.stack([two[0], two[1], np.zeros(SIZE, np.float32)])
    still, lost = (slice(44, 58), slice(5, 30)), (slice(5, 15), slice(30, 50))
    labels[2][still] = labels[1][lost] = 1  # what is lost has stood still since, and is still called the first part
    labels[0] = 1 - labels[1:].sum(0)
    odds = against(flow, labels)
    assert odds[lost].mean() > 1
    assert odds[still].mean() < 0.4


def test_tiny_part_gets_no_motion_evidence():
    """Motion gives no evidence on a part of a few pixels."""
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


def test_unreliable_flow_gives_no_evidence():
    """Unreliable flow gives no evidence."""
    flow, labels = scene(3.0)
    assert not against(flow, labels, trust=0.0).any()


def test_lost_pixels_of_mover_supported():
    """Motion supports pixels that the mask of a moving part has lost."""
    flow, labels = scene(3.0)
    labels[1][:, 40:], labels[0][:, 40:] = 0, 1
    odds = against(flow, labels)
    lost = (BOX[0], slice(40, 50))
    assert odds[lost].max() < -1
    assert odds[labels[0] > 0].max() > 0.1  # of the background's own places it says the contrary
    assert np.median(odds[:15]) > 0.1


@pytest.mark.parametrize("which", range(6))
def test_second_degree_motion_fitted(which):
    """A background motion of second degree is fitted without residual.

    Each term of the polynomial alone is fitted and evaluated at the right pixels.
    """
    y, x = np.meshgrid(np.linspace(-1, 1, 48), np.linspace(-1, 1, 64), indexing="ij")
    term = [np.ones_like(x), x, y, x * x, x * y, y * y][which]
    flow = np.stack([3 * term, -2 * term], -1).astype(np.float32)
    found = residual_motion(flow, np.ones((48, 64), np.float32))
    assert found is not None
    assert found.max() < 1e-3
