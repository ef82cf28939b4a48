"""Views: where they look from, how they frame, what they refuse."""

from __future__ import annotations

import json

import numpy as np
import pytest

from slime3d.rendering.cameras import UP_AXES, cameras_entry, orbit_cameras, read_cameras, turntable_views
from slime3d.rendering.renderers.zbuffer import ZBuffer
from slimecore.errors import ConfigError, InputError


def directions(cameras, mesh):
    middle = (mesh.vertices.min(0) + mesh.vertices.max(0)) / 2
    away = cameras.eyes() - middle
    return away / np.linalg.norm(away, axis=1, keepdims=True)


@pytest.mark.parametrize("views", [10, 12, 14])
def test_views_lie_all_around_above_and_below(cube, views):
    away = directions(orbit_cameras(cube.used(), views, 64), cube)
    assert len(away) == views
    assert (away[:, 1] > 0.7).sum() >= 2
    assert (away[:, 1] < -0.5).sum() >= 2
    for side in ([1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1]):
        assert (away @ side).max() > 0.7
    apart = away @ away.T - 2 * np.eye(views)
    assert apart.max() < 0.95


def test_every_face_of_a_cube_is_seen(cube):
    ids = ZBuffer(False).face_ids(cube.vertices, cube.faces, orbit_cameras(cube.used(), 12, 64))
    assert set(np.unique(ids)) == set(range(-1, 12))


@pytest.mark.parametrize("up", UP_AXES)
def test_up_is_up_in_the_picture(cube, up):
    axis = "xyz".index(up[-1])
    direction = np.zeros(3)
    direction[axis] = -1 if up.startswith("-") else 1
    cameras = orbit_cameras(cube.used(), 12, 64, up)
    pixels, _ = cameras.project(np.stack([np.zeros(3), direction]))
    assert (pixels[:, 1, 1] < pixels[:, 0, 1]).all()
    np.testing.assert_allclose(np.linalg.det(cameras.pose[:, :3, :3]), 1)


def test_view_0_shows_the_front_from_the_right(cube):
    away = directions(orbit_cameras(cube.used(), 12, 64), cube)[0]
    assert away[2] > away[0] > 0.3
    assert away[1] > 0.2


def test_the_object_fills_the_picture_and_is_never_cut(cube):
    cameras = orbit_cameras(cube.used() * 7 + 100, 12, 200)
    pixels, depth = cameras.project(cube.used() * 7 + 100)
    assert depth.min() > 0
    assert pixels.min() >= 0
    assert pixels.max() <= 200
    sides = np.ptp(pixels, axis=1)
    assert sides.max() == pytest.approx(200 / 1.1)
    np.testing.assert_allclose((pixels.min(1) + pixels.max(1)) / 2, 100, atol=1e-6)


def test_views_are_the_same_every_time_and_in_every_unit(cube):
    once, again = orbit_cameras(cube.used(), 12, 64), orbit_cameras(cube.used(), 12, 64)
    np.testing.assert_array_equal(once.pose, again.pose)
    large = orbit_cameras(cube.used() * 1000, 12, 64)
    np.testing.assert_allclose(large.project(cube.used() * 1000)[0], once.project(cube.used())[0], atol=1e-6)


def test_the_turntable_goes_round_once(cube):
    away = directions(turntable_views(cube.used(), 8, 64), cube)
    turn = np.unwrap(np.arctan2(away[:, 0], away[:, 2]))
    np.testing.assert_allclose(np.diff(turn), 2 * np.pi / 8)


def test_cameras_json_gives_the_cameras_back(cube, tmp_path):
    cameras = orbit_cameras(cube.used(), 5, 64)
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps(cameras_entry(cameras)))
    back = read_cameras(path)
    assert back.size == (64, 64)
    np.testing.assert_array_equal(back.pose, cameras.pose)
    np.testing.assert_array_equal(back.project(cube.vertices)[0], cameras.project(cube.vertices)[0])


@pytest.mark.parametrize("text", ["", "[]", '{"views": []}', '{"views": [], "size": [8, 8], "focal": 1}'])
def test_other_files_are_no_cameras(tmp_path, text):
    path = tmp_path / "cameras.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"cameras\.json"):
        read_cameras(path)


@pytest.mark.parametrize(
    ("options", "message"), [({"views": 0}, "--views"), ({"size": 8}, "--size"), ({"up": "w"}, "--up")]
)
def test_settings_out_of_range_are_named(cube, options, message):
    with pytest.raises(ConfigError, match=message):
        orbit_cameras(cube.used(), **options)
