"""Transfer between meshes made by hand: bodies in other poses, carts of other proportions and paint."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from slime3d.evaluation import score_labels
from slime3d.transfer.labels import PreparedMesh, SourceMesh, TransferConfig, transfer_labels
from slimecore.errors import ConfigError, InputError
from tests.slime3d.figures import cart
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


@pytest.mark.parametrize(("key", "value"), [("method", "magic"), ("form", -1.0), ("color", np.nan), ("weight", 1e9)])
def test_transfer_settings_out_of_range_refused(key, value):
    """Settings out of range are refused."""
    with pytest.raises(ConfigError, match=key):
        TransferConfig(**{key: value})
