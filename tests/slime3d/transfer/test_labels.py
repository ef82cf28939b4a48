"""Transfer between meshes made here: bodies in other poses, carts of other proportions and paint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slime3d.evaluation import score_labels
from slime3d.geometry.registration import register_similarity, rotations
from slime3d.geometry.surface_sampling import sample_surface
from slime3d.transfer.labels import PreparedMesh, SourceMesh, TransferConfig, transfer_labels
from slime3d.transfer.similarity import cross_validated_trust, vote_by_feature, vote_by_position, vote_by_target_color
from slimecore.errors import ConfigError, InputError
from tests.slime3d.figures import cart, figure
from tests.slime3d.shapes import moved

NEAREST = TransferConfig(method="nearest")


def transferred(source, target, config=None):
    (mesh, part), config = source, config or TransferConfig()
    donor = SourceMesh.of(PreparedMesh.of(mesh, config), part, int(part.max()) + 1)
    return transfer_labels(donor, PreparedMesh.of(target, config), config)


def miou(found, target):
    mesh, part = target
    return np.mean(list(score_labels(found.labels.rows, part, mesh.areas())[0].values()))


def test_parts_follow_body_into_other_pose(standing, cheering):
    """Parts follow a body into another pose."""
    found = transferred(standing, cheering[0])
    assert miou(found, cheering) > 0.9
    assert miou(transferred(standing, cheering[0], NEAREST), cheering) < 0.7
    assert found.weights["surface"] > 0.8
    assert len(found.labels.rows) == len(cheering[0].faces)


def test_other_pose_needs_surface_maps(standing, cheering):
    """Without surface maps labels do not follow into another pose."""
    found = transferred(standing, cheering[0], TransferConfig(surface=False))
    assert "surface" not in found.weights
    assert miou(found, cheering) < 0.7


def test_transfer_invariant_to_scale_and_shift():
    """Size and position in the file do not matter."""
    other = cart(3.0, 0.9)
    found = transferred(cart(), moved(other[0], scale=100.0, shift=7.0))
    assert miou(found, other) > 0.99


def test_pieces_matched_despite_proportions_and_paint():
    """Pieces find their kind whatever their proportions and paint."""
    other = cart(3.0, 0.9, (30, 60, 200))
    assert miou(transferred(cart(), other[0]), other) > 0.99
    assert miou(transferred(cart(), other[0], NEAREST), other) < 0.7


def test_position_alone_matches_whole_pieces():
    """The position of a whole piece is enough."""
    other = cart(3.0, 0.9)
    bare = TransferConfig(form=0, color=0, own_color=0)
    assert miou(transferred(cart(), other[0], bare), other) > 0.99


def test_transfer_independent_of_face_order():
    """Faces in another order get the same labels."""
    mesh, part = cart(3.0, 0.9)
    order = np.random.default_rng(0).permutation(len(part))
    look = replace(mesh.appearance, colors=mesh.appearance.colors[order], texture=mesh.appearance.texture[order])
    shuffled = replace(mesh, faces=mesh.faces[order], node=mesh.node[order], appearance=look)
    rows = transferred(cart(), shuffled).labels.rows
    assert (rows == part[order]).mean() > 0.99


def test_unlabelled_source_faces_ignored():
    """Unlabelled faces of a source do not vote."""
    mesh, part = cart()
    some = np.where(np.arange(len(part)) % 3 == 0, -1, part)
    other = cart(3.0, 0.9)
    assert miou(transferred((mesh, some), other[0]), other) > 0.99
    with pytest.raises(InputError, match="no labelled face"):
        SourceMesh.of(PreparedMesh.of(mesh, NEAREST), np.full(len(part), -1), 3)


def test_search_registers_rotated_mesh(standing, cheering):
    """A lying mesh is registered when rotations are searched."""
    one, two = (sample_surface(mesh, 2000) for mesh in (standing[0], moved(cheering[0], rotations()[17])))
    assert np.abs(register_similarity(one, two, search=True).turn @ rotations()[17] - np.eye(3)).max() < 0.3
    assert np.abs(register_similarity(one, two, search=False).turn @ rotations()[17] - np.eye(3)).max() > 0.5


def test_registration_recovers_similarity():
    """Registration recovers a similarity."""
    mesh, _ = figure(arms=(0.9, -0.3))
    slight = np.linalg.qr(np.eye(3) + 0.1 * np.random.default_rng(1).normal(size=(3, 3)))[0]
    slight *= np.sign(np.diag(slight))
    one, two = sample_surface(mesh, 5000), sample_surface(moved(mesh, slight, 2.5, [1.0, -3.0, 4.0]), 5000)
    found = register_similarity(one, two, search=False)
    np.testing.assert_allclose(found(two.points), one.points, atol=0.02)
    assert found.scale == pytest.approx(0.4, rel=0.02)
    assert np.linalg.det(found.turn) == pytest.approx(1)


def test_24_rotations_identity_first():
    """There are 24 rotations, and the identity comes first."""
    all_of_them = rotations()
    assert len(all_of_them) == 24
    np.testing.assert_array_equal(all_of_them[0], np.eye(3))
    assert all(np.linalg.det(turn) == pytest.approx(1) for turn in all_of_them)
    assert len({turn.tobytes() for turn in np.array(all_of_them) + 0.0}) == 24


def test_position_always_votes_features_only_near():
    """Position always votes, features vote only near known features."""
    rng = np.random.default_rng(2)
    known, labels = rng.normal(size=(200, 3)), rng.integers(0, 3, 200)
    near, far = known[:20] + 1e-4, known[:20] + 50.0
    for chance in (vote_by_position(known, labels, far, 3), vote_by_position(known, labels, near, 3)):
        np.testing.assert_allclose(chance.sum(1), 1)
    assert vote_by_position(known, labels, far, 3).max(1).min() > 0.4
    alike = vote_by_feature(known, labels, near, 3, 0.05)
    np.testing.assert_array_equal(alike.argmax(1), labels[:20])
    np.testing.assert_allclose(vote_by_feature(known, labels, far, 3, 0.05), 1 / 3)


def test_vote_by_position_matches_naive():
    """Votes by position agree with a naive implementation."""
    rng = np.random.default_rng(3)
    known, labels, asking = rng.normal(size=(60, 4)), rng.integers(0, 3, 60), rng.normal(size=(15, 4))
    got = vote_by_position(known, labels, asking, 3)
    for point, chance in zip(asking, got, strict=True):
        squared = ((known - point) ** 2).sum(1)
        near = squared.argsort()[:16]
        weight = np.exp(-(squared[near] - squared.min()) / 0.02)
        share = np.array([weight[labels[near] == p].sum() for p in range(3)]) / weight.sum()
        np.testing.assert_allclose(chance, (share + 0.01 / 3) / 1.01, atol=1e-9)


def test_trust_requires_prediction_across_regions():
    """A feature is trusted only where it predicts the labels of other regions."""
    rng = np.random.default_rng(4)
    region = np.repeat(np.arange(12), 30)
    labels, area = region % 3, np.ones(360)
    telling = labels[:, None] + 0.001 * rng.normal(size=(360, 1))
    own = region[:, None] + 0.001 * rng.normal(size=(360, 1))  # every region alone with its colour
    assert cross_validated_trust(telling, labels, region, area, 3, 0.05) > 0.9
    assert cross_validated_trust(own, labels, region, area, 3, 0.05) < 0.01
    assert cross_validated_trust(telling, np.zeros(360, int), region, area, 3, 0.05) == 0


def test_equal_colours_share_vote():
    """Faces of the same colour share their vote."""
    color = np.repeat([[0.1, 0.1, 0.1], [0.9, 0.2, 0.2]], [6, 4], axis=0)
    chance = np.tile([0.9, 0.1], (10, 1))
    chance[6:] = [0.2, 0.8]
    chance[0] = [0.1, 0.9]
    says = vote_by_target_color(color, chance, np.ones(10))
    assert (says[:6].argmax(1) == 0).all()
    assert (says[6:].argmax(1) == 1).all()


@pytest.mark.parametrize(
    ("key", "value"), [("method", "magic"), ("form", -1.0), ("functions", 5), ("prefer", 0.0), ("weight", 1e9)]
)
def test_transfer_settings_out_of_range_refused(key, value):
    """Settings out of range are refused."""
    with pytest.raises(ConfigError, match=key):
        TransferConfig(**{key: value})
