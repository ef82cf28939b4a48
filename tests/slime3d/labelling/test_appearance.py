"""Votes by appearance: they change only uncertain faces."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import trimesh

from slime3d.cli import main
from slime3d.config import RunConfig
from slime3d.io.materials import Appearance
from slime3d.labelling.appearance import AnnotatedViews, AppearanceConfig, appearance_votes, calibrate, read_views
from slime3d.labelling.random_walk import ANNOTATED, RELABELLED_BY_APPEARANCE, SOURCES
from slime3d.labelling.symmetry import SymmetryConfig
from slime3d.rendering.cameras import orbit_cameras
from slime3d.rendering.renderers import build_renderer
from slime3d.run.pipeline import label_mesh
from slimecore.errors import ConfigError
from slimecore.io.masks import MaskFile, make_parts, write_mask
from tests.slime3d.shapes import from_trimesh

STRONG = AppearanceConfig(weight=3.0)


@pytest.fixture(autouse=True)
def few_small_views(monkeypatch):
    monkeypatch.setattr("slime3d.labelling.appearance._VIEWS", 6)
    monkeypatch.setattr("slime3d.labelling.appearance._NETWORK_SIDE_PIXELS", 128)


@pytest.fixture(scope="module")
def ball():
    """A ball seen from the front: left and right halves there, upper and lower halves behind; its true parts 1, 2."""
    plain = from_trimesh(trimesh.creation.icosphere(subdivisions=3))
    x, y, z = plain.middles().T
    truth = np.where(np.where(z > 0.1, x, y) > 0, 2, 1)
    palette = np.array([[0, 0, 0], [205, 60, 50], [50, 80, 200]], np.uint8)
    colors = np.repeat(palette[truth][:, None], 3, 1)
    return replace(plain, appearance=Appearance(colors, None, np.full(len(truth), -1, np.int32), ())), truth


def labelled(mesh, truth, appearance, *, with_cameras=True):
    cameras = orbit_cameras(mesh.used(), 4, 128).at([0])
    ids = build_renderer().rasterize(mesh.vertices, mesh.faces, cameras).face_id
    values = np.where(ids >= 0, truth[ids], -1)
    parts = make_parts(MaskFile(values.reshape(-1, 1), {}))
    config = RunConfig(appearance=appearance, symmetry=SymmetryConfig(weight=0))
    found = label_mesh(mesh, ids, parts.index(values), parts, config, cameras if with_cameras else None)
    return np.asarray(parts.values)[found.rows], found, np.unique(ids[ids >= 0])


def test_colour_corrects_unseen_side(ball):
    """Colour finds the far side that the shape gets wrong."""
    mesh, truth = ball
    far = np.setdiff1d(np.arange(len(truth)), labelled(mesh, truth, AppearanceConfig(weight=0))[2])
    by_shape = labelled(mesh, truth, AppearanceConfig(weight=0))[0]
    by_looks, found, shown = labelled(mesh, truth, STRONG)
    assert (by_shape == truth)[far].mean() < 0.8
    assert (by_looks == truth)[far].mean() > 0.93
    np.testing.assert_array_equal(by_looks[shown], truth[shown])
    assert (found.source[shown] == ANNOTATED).all()
    np.testing.assert_array_equal(found.source == RELABELLED_BY_APPEARANCE, by_looks != by_shape)
    assert SOURCES[RELABELLED_BY_APPEARANCE] == "appearance"


def test_appearance_is_seeded(ball):
    """The same seed gives the same result."""
    mesh, truth = ball
    first, second = (labelled(mesh, truth, STRONG)[1] for _ in range(2))
    np.testing.assert_array_equal(first.rows, second.rows)
    np.testing.assert_array_equal(first.confidence, second.confidence)


def test_zero_weight_uses_shape_only(ball, monkeypatch):
    """Weight 0 or no cameras gives the labels of the shape alone."""
    mesh, truth = ball

    def never(*_):
        raise AssertionError("the views must not be read")

    monkeypatch.setattr("slime3d.labelling.appearance.read_views", never)
    off = labelled(mesh, truth, AppearanceConfig(weight=0))[1]
    blind = labelled(mesh, truth, STRONG, with_cameras=False)[1]
    for name in ("rows", "confidence", "source"):
        np.testing.assert_array_equal(getattr(off, name), getattr(blind, name))
    assert not (off.source == RELABELLED_BY_APPEARANCE).any()


def test_clay_labels_not_degraded(ball):
    """Labels of an untextured mesh do not get worse."""
    mesh, truth = ball
    clay = replace(mesh, appearance=Appearance(None, None, mesh.appearance.texture, ()))
    by_shape = labelled(clay, truth, AppearanceConfig(weight=0))[0]
    by_looks = labelled(clay, truth, STRONG)[0]
    assert (by_looks == truth).mean() >= (by_shape == truth).mean()


def test_votes_only_for_uncertain_faces(ball, monkeypatch):
    """Only faces without votes get votes, in proportion to their uncertainty."""
    mesh, truth = ball
    count = len(truth)
    chance = np.eye(3)[truth]
    monkeypatch.setattr("slime3d.labelling.appearance.read_views", lambda *_: chance)
    votes = np.where(np.arange(count)[:, None] < 700, chance, 0)
    given = AnnotatedViews(np.arange(count)[None, None], truth[None, None], orbit_cameras(mesh.used(), 1), None)
    uncertainty = np.linspace(0, 1, count)
    evidence = appearance_votes(mesh, votes, given, uncertainty, AppearanceConfig(weight=0.5))
    assert not evidence.is_fixed
    np.testing.assert_allclose(evidence.votes, np.where(np.arange(count) < 700, 0, 0.5 * uncertainty)[:, None] * chance)


def test_trust_is_iou_above_chance():
    """Trust is the share of the mean IoU above guessing."""
    areas = np.array([4.0, 4, 1, 1, 5])
    truth = np.array([0, 0, 1, 1])
    votes = np.vstack([np.eye(3)[truth], np.zeros((1, 3))])  # part 2 is not annotated, nor is the last face
    assert calibrate(votes.copy(), votes, areas) == 1.0
    largest = np.tile([1.0, 0, 0], (5, 1))
    assert calibrate(largest, votes, areas) == 0.0
    one_wrong = np.vstack([np.eye(3)[[0, 0, 1, 0]], np.zeros((1, 3))])
    assert calibrate(one_wrong, votes, areas) == pytest.approx(8 / 9 + 1 / 2 - 1)
    assert calibrate(np.zeros((5, 3)), votes, areas) == 0.0


def test_annotated_view_not_read_on_itself(ball, monkeypatch):
    """Faces shown in an annotated view are not read on the same view.

    The only view to read is the annotated view, and it tells nothing of the accuracy elsewhere.
    """
    mesh, truth = ball
    monkeypatch.setattr("slime3d.labelling.appearance._VIEWS", 1)
    monkeypatch.setattr("slime3d.labelling.appearance._NETWORK_SIDE_PIXELS", 64)
    cameras = orbit_cameras(mesh.used(), 1, 128)
    ids = build_renderer().rasterize(mesh.vertices, mesh.faces, cameras).face_id
    given = AnnotatedViews(ids, np.where(ids >= 0, truth[ids], -1), cameras, build_renderer())
    assert not read_views(mesh, given, 3, AppearanceConfig()).any()


@pytest.mark.parametrize("wrong", [{"weight": -1}, {"weight": np.nan}])
def test_appearance_settings_out_of_range_refused(wrong):
    """Settings out of range are refused."""
    with pytest.raises(ConfigError, match="appearance"):
        AppearanceConfig(**wrong)


def test_missing_device_refused_before_writing(ball, tmp_path, capsys):
    """A missing device is refused in a single line before any output is written."""
    mesh, truth = ball
    path, mask = tmp_path / "ball.ply", tmp_path / "mask.png"
    trimesh.Trimesh(mesh.vertices, mesh.faces, process=False).export(path)
    ids = build_renderer().rasterize(mesh.vertices, mesh.faces, orbit_cameras(mesh.used(), 4, 64).at([0])).face_id[0]
    write_mask(mask, np.where(ids >= 0, truth[ids], 0))
    given = ["--views", "4", "--size", "64", "--ref", str(mask), "--out", str(tmp_path / "out")]
    assert main(["run", str(path), *given, "--set", "appearance.device=abacus"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "out").exists()
