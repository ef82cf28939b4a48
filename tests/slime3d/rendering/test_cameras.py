"""Cameras: directions, framing, files, and settings out of range."""

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
def test_orbit_covers_all_directions(cube, views):
    """Views lie all around, above and below."""
    away = directions(orbit_cameras(cube.used(), views, 64), cube)
    assert len(away) == views
    assert (away[:, 1] > 0.7).sum() >= 2
    assert (away[:, 1] < -0.5).sum() >= 2
    for side in ([1, 0, 0], [-1, 0, 0], [0, 0, 1], [0, 0, -1]):
        assert (away @ side).max() > 0.7
    apart = away @ away.T - 2 * np.eye(views)
    assert apart.max() < 0.95


def test_every_cube_face_seen(cube):
    """Every face of a cube is seen."""
    ids = ZBuffer(False).face_ids(cube.vertices, cube.faces, orbit_cameras(cube.used(), 12, 64))
    assert set(np.unique(ids)) == set(range(-1, 12))


@pytest.mark.parametrize("up", UP_AXES)
def test_up_axis_points_up_in_image(cube, up):
    """The up axis points up in the image."""
    axis = "xyz".index(up[-1])
    direction = np.zeros(3)
    direction[axis] = -1 if up.startswith("-") else 1
    cameras = orbit_cameras(cube.used(), 12, 64, up)
    pixels, _ = cameras.project(np.stack([np.zeros(3), direction]))
    assert (pixels[:, 1, 1] < pixels[:, 0, 1]).all()
    np.testing.assert_allclose(np.linalg.det(cameras.pose[:, :3, :3]), 1)


def test_view_0_from_front_right(cube):
    """View 0 shows the front from the right."""
    away = directions(orbit_cameras(cube.used(), 12, 64), cube)[0]
    assert away[2] > away[0] > 0.3
    assert away[1] > 0.2


def test_object_fills_image_without_clipping(cube):
    """The object fills the image and is never cut."""
    cameras = orbit_cameras(cube.used() * 7 + 100, 12, 200)
    pixels, depth = cameras.project(cube.used() * 7 + 100)
    assert depth.min() > 0
    assert pixels.min() >= 0
    assert pixels.max() <= 200
    sides = np.ptp(pixels, axis=1)
    assert sides.max() == pytest.approx(200 / 1.1)
    np.testing.assert_allclose((pixels.min(1) + pixels.max(1)) / 2, 100, atol=1e-6)


def test_orbit_deterministic_and_scale_invariant(cube):
    """Views are the same every time and in every unit."""
    once, again = orbit_cameras(cube.used(), 12, 64), orbit_cameras(cube.used(), 12, 64)
    np.testing.assert_array_equal(once.pose, again.pose)
    large = orbit_cameras(cube.used() * 1000, 12, 64)
    np.testing.assert_allclose(large.project(cube.used() * 1000)[0], once.project(cube.used())[0], atol=1e-6)


def test_turntable_makes_full_turn(cube):
    """The turntable makes a single full turn."""
    away = directions(turntable_views(cube.used(), 8, 64), cube)
    turn = np.unwrap(np.arctan2(away[:, 0], away[:, 2]))
    np.testing.assert_allclose(np.diff(turn), 2 * np.pi / 8)


def test_cameras_json_round_trip(cube, tmp_path):
    """cameras.json gives the cameras back."""
    cameras = orbit_cameras(cube.used(), 5, 64)
    path = tmp_path / "cameras.json"
    path.write_text(json.dumps(cameras_entry(cameras)))
    back = read_cameras(path)
    assert back.size == (64, 64)
    np.testing.assert_array_equal(back.pose, cameras.pose)
    np.testing.assert_array_equal(back.project(cube.vertices)[0], cameras.project(cube.vertices)[0])


@pytest.mark.parametrize("text", ["", "[]", '{"views": []}', '{"views": [], "size": [8, 8], "focal": 1}'])
def test_invalid_cameras_file_refused(tmp_path, text):
    """Other files are refused as cameras."""
    path = tmp_path / "cameras.json"
    path.write_text(text)
    with pytest.raises(InputError, match=r"cameras\.json"):
        read_cameras(path)


@pytest.mark.parametrize(
    ("options", "message"), [({"views": 0}, "--views"), ({"size": 8}, "--size"), ({"up": "w"}, "--up")]
)
def test_orbit_settings_out_of_range_refused(cube, options, message):
    """Settings out of range are named."""
    with pytest.raises(ConfigError, match=message):
        orbit_cameras(cube.used(), **options)
