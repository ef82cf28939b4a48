"""Leaves and balls: projection, its inverse and visibility."""

import numpy as np

from training.layers import Ball, Leaf, invert_affine


def test_project_inverts_unproject():
    """Shears are undone exactly.

    ``project`` inverts ``unproject`` with strong waves.
    """
    waves = np.array([[[0.2, 2.0, 0.3], [0.15, 3.0, 1.0]]])
    pose = np.array([[[20.0, 3.0, 30.0], [-4.0, 25.0, 28.0]]])
    leaf = Leaf(rgba=np.zeros((4, 4, 4), np.uint8), normals=None, poses=pose, object_id=1, waves=waves)
    rng = np.random.default_rng(0)
    points = rng.uniform(0, 64, (50, 2)).astype(np.float32)
    back, _ = leaf.project(0, leaf.unproject(0, points[:, 0], points[:, 1]))
    np.testing.assert_allclose(back, points, atol=1e-3)


def test_half_turned_ball_hides_front():
    """A ball turned half way hides its front.

    The side that faced the viewer faces away after half a turn about the vertical.
    """
    turn = np.stack([np.eye(3), np.diag([-1.0, 1.0, -1.0])])
    pose = np.stack([[[20.0, 0, 32], [0, 20.0, 32]]] * 2)
    ball = Ball(rgba=np.zeros((4, 4, 4), np.uint8), normals=None, poses=pose, object_id=1, spins=turn)
    coords = ball.unproject(0, np.array([32.0]), np.array([32.0]))
    assert ball.project(0, coords)[1].tolist() == [True]
    assert ball.project(1, coords)[1].tolist() == [False]


def test_invert_affine():
    """A pose times its inverse is the identity."""
    pose = np.array([[2.0, 1.0, 5.0], [-1.0, 3.0, 7.0]])
    both = np.vstack([pose, [0, 0, 1]]) @ np.vstack([invert_affine(pose), [0, 0, 1]])
    np.testing.assert_allclose(both, np.eye(3), atol=1e-12)
