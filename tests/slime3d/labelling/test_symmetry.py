"""Symmetries of shapes, and the votes they give to unseen faces."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from slime3d.config import RunConfig
from slime3d.labelling.random_walk import random_walk_labels
from slime3d.labelling.symmetry import SymmetryConfig, symmetries, symmetry_evidence
from slime3d.labelling.votes import FaceVotes, cast_votes
from slime3d.run.pipeline import label_mesh
from slimecore.errors import ConfigError
from slimecore.types import Parts
from tests.slime3d.figures import ARM
from tests.slime3d.shapes import from_trimesh, make_mesh


def cart(lopsided=False):
    """A box with four wheels, mirrored in x only, turned by some angle about z; wheels are separate shells."""
    pieces = [trimesh.creation.box((1.2, 2.0, 0.5))]
    for x in (-0.75, 0.75):
        for y, radius in ((-0.6, 0.35), (0.7, 0.25)):
            wheel = trimesh.creation.cylinder(radius, 0.2, sections=24)
            wheel.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, [0, 1, 0]))
            wheel.apply_translation([x, y, -0.2 + 0.9 * (lopsided and x > 0)])
            pieces.append(wheel)
    whole = trimesh.util.concatenate(pieces)
    whole.apply_transform(trimesh.transformations.rotation_matrix(0.5, [0, 0, 1]))
    part = np.repeat(np.arange(5), [len(p.faces) for p in pieces])
    return from_trimesh(whole), part


def test_cart_symmetries_found():
    """A cart has a single mirror symmetry, and a lopsided cart has none."""
    mesh, _ = cart()
    found = symmetries(mesh, 0.9)
    assert len(found) == 1
    across = np.array([np.cos(0.5), np.sin(0.5), 0])
    np.testing.assert_allclose(found[0][0], np.eye(3) - 2 * np.outer(across, across), atol=0.02)
    assert symmetries(cart(lopsided=True)[0], 0.9) == []


def test_box_has_seven_symmetries(cube):
    """A box has all seven symmetries."""
    assert len(symmetries(cube, 0.95)) == 7


def shown(part, seen_values):
    votes = np.zeros((len(part), 6))
    for value, row in seen_values.items():
        votes[part == value, row] = 1
    return votes


def test_unseen_wheels_labelled_by_symmetry():
    """Unseen wheels are labelled as wheels.

    The body's near half and the near wheels are annotated. The walk alone makes the far wheels body.
    """
    mesh, part = cart()
    votes = shown(part, {3: 2, 4: 2})
    side = mesh.middles() @ [np.cos(0.5), np.sin(0.5), 0]
    votes[(part == 0) & (side > -0.2), 1] = 1
    truth = np.where(part == 0, 1, 2)
    evidence = symmetry_evidence(mesh, votes, SymmetryConfig())
    assert not evidence.is_fixed
    assert not evidence.votes[votes.sum(1) > 0].any()
    far = (part == 1) | (part == 2)
    assert (evidence.votes[far, 2] > 0).mean() > 0.9
    assert not evidence.votes[far, 1].any()
    sure = FaceVotes(votes, is_fixed=True)
    assert (random_walk_labels(mesh, [sure]).rows[far] == 1).all()
    assert (random_walk_labels(mesh, [sure, evidence]).rows == truth).all()
    rows = np.where(votes.any(1), votes.argmax(1), -1)
    parts = Parts((0, 1, 2), ("rest", "body", "wheel"), ((0, 0, 0),) * 3)
    pixels = np.arange(len(part)).reshape(1, 1, -1)  # a picture of one row that shows every face once
    for method, right in (("geometry", truth), ("walk", np.where(far, 1, truth))):
        found = label_mesh(mesh, pixels, rows.reshape(1, 1, -1), parts, RunConfig(method=method))
        np.testing.assert_array_equal(found.rows, right)


@pytest.mark.parametrize(("near", "far"), [(2, 2), (2, 3)])
def test_parts_differing_by_side_followed(near, far):
    """Parts that change with the side are followed.

    Front wheels are seen on both sides, as the same part or two parts. Half of a rear wheel's pair is not seen.
    """
    mesh, part = cart()
    votes = shown(part, {0: 1, 3: near, 1: far, 4: near})
    evidence = symmetry_evidence(mesh, votes, SymmetryConfig()).votes
    assert (evidence[part == 2].argmax(1) == far).mean() > 0.9
    assert not np.delete(evidence, far, axis=1).any()


def test_asymmetric_labels_give_no_votes(cube):
    """Labels without the shape's symmetry silence it.

    A ball cut across: mirrored labels contradict themselves, and the open face gets no votes.
    """
    ball = from_trimesh(trimesh.creation.icosphere(subdivisions=4))
    x, y, z = ball.middles().T
    votes = np.zeros((len(x), 3))
    votes[np.arange(len(x)), 1 + ((x + 0.3 * y + 0.2 * z) * 7 % 2 > 1).astype(int)] = 1
    votes[z > 0.8] = 0
    assert not symmetry_evidence(ball, votes, SymmetryConfig()).votes.any()


def test_symmetry_weight_bounds_votes():
    """The weight bounds the votes, and zero switches them off."""
    mesh, part = cart()
    votes = shown(part, {0: 1, 3: 2, 4: 2})
    assert symmetry_evidence(mesh, votes, SymmetryConfig(weight=0.5)).votes.sum(1).max() == pytest.approx(0.5, rel=0.01)
    assert not symmetry_evidence(mesh, votes, SymmetryConfig(weight=0)).votes.any()
    with pytest.raises(ConfigError, match="symmetry"):
        SymmetryConfig(weight=-1)


def test_degenerate_faces_and_tiny_units_handled():
    """Faces without area and tiny units are no obstacle."""
    mesh, part = cart()
    small = make_mesh(mesh.vertices * 1e-4 + 3, np.concatenate([mesh.faces, [[0, 0, 1]]]))
    votes = shown(np.append(part, 9), {0: 1, 3: 2, 4: 2})
    evidence = symmetry_evidence(small, votes, SymmetryConfig()).votes
    assert np.isfinite(evidence).all()
    assert (evidence[:-1][part == 1, 2] > 0).mean() > 0.9


def test_unseen_arm_labelled_by_symmetry(waving):
    """The unseen arm of a waving body takes the label of the seen arm."""
    mesh, part = waving
    seen = np.flatnonzero(mesh.middles()[:, 0] > -0.12)  # all but the right arm and leg
    votes = cast_votes(seen[None, None].astype(np.int32), part[seen][None, None], len(part))
    hidden = np.setdiff1d(np.flatnonzero(part == ARM), seen)
    shares = []
    for bent in (0.15, 0.0):
        says = symmetry_evidence(mesh, votes, SymmetryConfig(intrinsic_tolerance=bent)).votes[hidden]
        shares.append(((says.argmax(1) == ARM) & (says.sum(1) > 0)).mean())
    assert shares[0] > 0.9
    assert shares[1] < 0.1


def test_votes_stay_on_their_side():
    """Votes never cross to the other side of a thin plate, although its samples are near."""
    left, right = (trimesh.creation.box((2, 2, 0.004)) for _ in range(2))
    block = trimesh.creation.box((1, 1, 2))  # leaves the mirror in x as the only symmetry
    for piece, place in ((left, (-1, 0, 0)), (right, (1, 0, 0)), (block, (0, 0.4, 1.1))):
        piece.apply_translation(place)
    mesh = from_trimesh(trimesh.util.concatenate([left, right, block]))
    up = mesh.normals()[:, 2]
    votes = np.zeros((36, 4))
    votes[:12][up[:12] > 0.5, 1] = 1
    votes[:12][up[:12] < -0.5, 2] = 1
    votes[24:, 3] = 1
    assert len(symmetries(mesh, 0.9)) == 1
    found = symmetry_evidence(mesh, votes, SymmetryConfig(intrinsic_tolerance=0)).votes[12:24]
    top, bottom = found[up[12:24] > 0.5].sum(0), found[up[12:24] < -0.5].sum(0)
    assert top[1] > 0.005
    assert bottom[2] > 0.005
    assert top[[0, 2, 3]].tolist() == bottom[[0, 1, 3]].tolist() == [0, 0, 0]
