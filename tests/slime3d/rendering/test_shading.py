"""Shading: colours, light, textures."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from slime3d.io.mesh import load_mesh
from slime3d.rendering.cameras import Cameras, orbit_cameras
from slime3d.rendering.renderers import build_renderer
from slime3d.rendering.shading import SHADINGS, _sample_texture, lighting_normals, shade, shade_colors
from slimecore.errors import ConfigError
from tests.slime3d.shapes import QUARTERS, from_trimesh, make_mesh, square, textured_square


def rendered(mesh, cameras):
    return build_renderer().rasterize(mesh.vertices, mesh.faces, cameras)


def facing(size=64):
    """A camera that looks straight at the square -1..1 in the plane z = 0."""
    pose = np.eye(4)
    pose[2, 3] = -4
    return Cameras(pose[None], 4 * size / 2.0, np.full((1, 2), size / 2), (size, size))


@pytest.mark.parametrize("suffix", [".glb", ".obj"])
def test_texture_orientation_correct(tmp_path, suffix):
    """A texture lies the right way round."""
    textured_square().export(tmp_path / f"square{suffix}")
    mesh = load_mesh(tmp_path / f"square{suffix}")
    assert mesh.appearance.kind == "textured"
    assert mesh.notes == ()
    picture = shade(rendered(mesh, facing()), mesh, facing())[0].astype(int)
    quarters = picture[[16, 16, 48, 48], [16, 48, 16, 48]]
    bright = quarters > 0.4 * quarters.max(1, keepdims=True)
    np.testing.assert_array_equal(bright, QUARTERS.reshape(4, 3) > 0)


def test_bilinear_sampling_wraps_at_texel_centres():
    """Bilinear samples repeat and meet texel centres."""
    image = np.arange(12, dtype=np.uint8).reshape(2, 2, 3) * 10
    uv = np.array([[0.25, 0.75], [0.75, 0.25], [1.25, -0.25], [0.5, 0.75]])
    expected = [image[0, 0], image[1, 1], image[0, 0], (image[0, 0].astype(float) + image[0, 1]) / 2]
    np.testing.assert_allclose(_sample_texture(image, uv), expected)


def test_vertex_colours_interpolated_linear_in_gltf(tmp_path):
    """Vertex colours are interpolated, and are linear light in glTF."""
    colors = np.array([[55, 55, 55, 255]] * 4, np.uint8)
    shape = square(trimesh.visual.ColorVisuals(vertex_colors=colors))
    shape.export(tmp_path / "s.ply")
    shape.export(tmp_path / "s.glb")
    levels = {}
    for suffix in ("ply", "glb"):
        mesh = load_mesh(tmp_path / f"s.{suffix}")
        assert mesh.appearance.kind == "vertex"
        levels[suffix] = shade(rendered(mesh, facing()), mesh, facing())[0, 32, 32].tolist()
    assert max(abs(v - 55) for v in levels["ply"]) <= 1
    assert max(abs(v - 128) for v in levels["glb"]) <= 1


def test_clay_two_sided_and_brightest_frontally():
    """Clay is two-sided and brightest where it faces the camera."""
    ball = from_trimesh(trimesh.creation.icosphere(subdivisions=4))
    cameras = orbit_cameras(ball.used(), 3, 96)
    picture = shade(rendered(ball, cameras), ball, cameras, "clay")
    turned = make_mesh(ball.vertices, ball.faces[:, ::-1])
    np.testing.assert_array_equal(shade(rendered(turned, cameras), turned, cameras, "clay"), picture)
    assert (picture[:, 48, 48, 0] > 195).all()
    assert (picture[:, 48, 8, 0] < 130).all()
    assert (picture[:, 0, 0] == 255).all()


def test_sharp_edges_kept_round_smoothed(cube):
    """Sharp edges stay sharp, and round surfaces are smooth."""
    nut = from_trimesh(trimesh.creation.cylinder(1, 1, sections=6))
    for mesh in (cube, nut):
        corners = lighting_normals(mesh)
        np.testing.assert_allclose(corners, np.repeat(mesh.normals()[:, None], 3, 1), atol=1e-9)
    ball = from_trimesh(trimesh.creation.icosphere(subdivisions=3))
    np.testing.assert_allclose(lighting_normals(ball), ball.vertices[ball.faces], atol=0.02)


def test_frontal_normals_are_blue():
    """Normals that point to the camera are blue."""
    mesh = from_trimesh(square())
    picture = shade(rendered(mesh, facing()), mesh, facing(), "normal")[0]
    assert picture[32, 32].tolist() == [128, 128, 255]


def test_depth_shading_light_near_dark_far(cube):
    """Depth shading is light near and dark far."""
    cameras = orbit_cameras(cube.used(), 4, 64)
    fragments = rendered(cube, cameras)
    picture = shade(fragments, cube, cameras, "depth")[..., 0].astype(float)
    shown = fragments.face_id >= 0
    assert np.corrcoef(picture[shown], fragments.depth[shown])[0, 1] < -0.999
    assert (picture[~shown] == 255).all()


def test_shade_colors_uses_face_colours(cube):
    """Faces are drawn in colours of their own."""
    cameras = orbit_cameras(cube.used(), 4, 64)
    fragments = rendered(cube, cameras)
    colors = np.zeros((12, 3), np.uint8)
    colors[:, 1] = 255
    picture = shade_colors(fragments, cube, cameras, colors)
    shown = fragments.face_id >= 0
    assert (picture[shown][:, [0, 2]] == 0).all()
    assert (picture[shown][:, 1] > 80).all()


@pytest.mark.parametrize("mode", [*SHADINGS, "shiny"])
def test_shading_without_data_error_single_line(cube, mode):
    """A shading that the mesh has no data for is refused in a single line."""
    cameras = orbit_cameras(cube.used(), 1, 32)
    fragments = rendered(cube, cameras)
    if mode in {"textured", "vertex", "shiny"}:
        with pytest.raises(ConfigError, match="--shading"):
            shade(fragments, cube, cameras, mode)
    else:
        assert shade(fragments, cube, cameras, mode).shape == (1, 32, 32, 3)
