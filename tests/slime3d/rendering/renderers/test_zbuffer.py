"""The z-buffer against a naive implementation that casts a ray for every pixel."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from slime3d.rendering.cameras import Cameras, orbit_cameras
from slime3d.rendering.renderers.zbuffer import ZBuffer, _draw_loops, _draw_numpy
from tests.slime3d.shapes import from_trimesh, make_mesh


def naive(mesh, cameras):
    """Per view: (id, depth, bary, ids of all faces hit within a hair of the nearest)."""
    h, w = cameras.size
    for pose, eye, (cx, cy) in zip(cameras.pose, cameras.eyes(), cameras.centre, strict=True):
        for y in range(h):
            for x in range(w):
                local = np.array([(x + 0.5 - cx) / cameras.focal, (cy - y - 0.5) / cameras.focal, -1.0])
                ray = local @ pose[:3, :3]
                yield naive_pixel(mesh.vertices[mesh.faces], eye, ray)


def naive_pixel(triangles, eye, ray):
    """Solve ``eye + t ray = a + u (b - a) + v (c - a)``; t is the depth, as the ray's step along the axis is 1."""
    hits = []
    for face, (a, b, c) in enumerate(triangles):
        system = np.stack([-ray, b - a, c - a], 1)
        if abs(np.linalg.det(system)) < 1e-14:
            continue
        t, u, v = np.linalg.solve(system, eye - a)
        if t > 0 and min(u, v, 1 - u - v) >= -1e-9:
            hits.append((t, face, (1 - u - v, u, v)))
    if not hits:
        return -1, np.inf, (0, 0, 0), set()
    t, face, bary = min(hits)
    return face, t, bary, {f for d, f, _ in hits if d - t < 1e-5 * t}


def check(mesh, cameras, fragments):
    mismatches = 0
    flat = zip(
        naive(mesh, cameras),
        fragments.face_id.ravel(),
        fragments.depth.ravel(),
        fragments.bary.reshape(-1, 3),
        strict=True,
    )
    for (face, depth, bary, close), got, got_depth, got_bary in flat:
        assert got == face or got in close
        mismatches += got != face
        if face < 0:
            assert got_depth == np.inf
            assert not got_bary.any()
            continue
        assert got_depth == pytest.approx(depth, rel=1e-4)
        if got == face:
            np.testing.assert_allclose(got_bary, bary, atol=2e-4)
    assert mismatches <= 0.01 * fragments.face_id.size


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize("kind", ["cube", "soup"])
def test_zbuffer_matches_naive(kind, compiled, request):
    """The z-buffer agrees with the naive implementation."""
    mesh = request.getfixturevalue(kind)
    cameras = orbit_cameras(mesh.used(), 4, 24)[1:3]
    fragments = ZBuffer(compiled).rasterize(mesh.vertices, mesh.faces, cameras)
    assert fragments.face_id.dtype == np.int32
    assert fragments.depth.dtype == fragments.bary.dtype == np.float32
    check(mesh, cameras, fragments)


def test_compiled_loops_match_numpy(soup, monkeypatch):
    """The loops that numba compiles draw the same pixels as numpy."""
    cameras = orbit_cameras(soup.used(), 3, 40)
    plain = ZBuffer(compiled=False)
    assert plain._draw is _draw_numpy
    first = plain.face_ids(soup.vertices, soup.faces, cameras)
    plain._draw = _draw_loops  # as Python
    np.testing.assert_array_equal(plain.face_ids(soup.vertices, soup.faces, cameras), first)


def test_pixels_outside_box_not_drawn():
    """Pixels slightly outside a triangle's box are never drawn.

    The tip misses the centre of pixel 10 by less than the slack of borders. The size class is wider than the box.
    """
    tip = 10.5 - 1e-10
    vertices = np.array([[1.5, -1.5, -4.0], [1.5, -9.5, -4.0], [tip, -5.5, -4.0]])
    cameras = Cameras(np.eye(4)[None], 4.0, np.zeros((1, 2)), (16, 16))
    renderer = ZBuffer(compiled=False)
    ids = renderer.face_ids(vertices, np.array([[0, 1, 2]]), cameras)
    assert np.argwhere(ids[0] >= 0)[:, 1].max() == 9
    renderer._draw = _draw_loops
    np.testing.assert_array_equal(renderer.face_ids(vertices, np.array([[0, 1, 2]]), cameras), ids)


def test_view_batches_match_single_views(soup, monkeypatch):
    """Batches of views give the same ids as single views."""
    import slime3d.rendering.renderers.zbuffer as module

    cameras = orbit_cameras(soup.used(), 5, 48)
    whole = ZBuffer(False).face_ids(soup.vertices, soup.faces, cameras)
    monkeypatch.setattr(module, "_TRIANGLES_PER_BATCH", 2 * len(soup.faces))
    monkeypatch.setattr(module, "_PIXELS_PER_BATCH", 64)
    np.testing.assert_array_equal(ZBuffer(False).face_ids(soup.vertices, soup.faces, cameras), whole)


def test_equal_depth_goes_to_lowest_face(cube):
    """Equal depths go to the face of the lowest index."""
    doubled = make_mesh(cube.vertices, np.concatenate([cube.faces, cube.faces]))
    cameras = orbit_cameras(cube.used(), 3, 64)
    ids = ZBuffer(False).face_ids(doubled.vertices, doubled.faces, cameras)
    assert ids.max() < len(cube.faces)
    np.testing.assert_array_equal(ids, ZBuffer(False).face_ids(cube.vertices, cube.faces, cameras))


def test_faces_are_two_sided(cube):
    """Both sides of a face are shown."""
    turned = make_mesh(cube.vertices, cube.faces[:, ::-1])
    cameras = orbit_cameras(cube.used(), 4, 64)
    np.testing.assert_array_equal(
        ZBuffer(False).face_ids(turned.vertices, turned.faces, cameras),
        ZBuffer(False).face_ids(cube.vertices, cube.faces, cameras),
    )


def test_no_holes_at_pixel_centre_edges():
    """A closed surface has no holes where edges cross pixel centres.

    A grid of quads has edges and diagonals that run exactly through pixel centres.
    """
    n = 16
    y, x = np.mgrid[: n + 1, : n + 1]
    vertices = np.stack([x.ravel() + 0.5, -(y.ravel() + 0.5), np.full(x.size, -4.0)], 1)
    quads = (np.arange(n)[:, None] * (n + 1) + np.arange(n)).ravel()[:, None]
    faces = np.concatenate([quads + np.array([0, 1, n + 2]), quads + np.array([0, n + 2, n + 1])])
    cameras = Cameras(np.eye(4)[None], 4.0, np.zeros((1, 2)), (20, 20))
    ids = ZBuffer(False).face_ids(vertices, faces, cameras)[0]
    assert (ids[: n + 1, : n + 1] >= 0).all()
    assert (ids[n + 1 :] == -1).all()
    assert (ids[:, n + 1 :] == -1).all()


def test_faces_behind_camera_or_degenerate_omitted():
    """Faces behind or at the camera and faces without area are left out."""
    triangle = np.array([[-1.0, -1, 0], [1, -1, 0], [0, 1, 0]])
    vertices = np.concatenate([triangle + np.array([0, 0, z]) for z in (-5, 5, 0)] + [[[0, 0, -4]]])
    vertices = np.concatenate([vertices, [[0, 0, -1e-7]]])  # almost at the camera: would cover everything
    faces = np.array([[0, 1, 2], [3, 4, 5], [6, 7, 8], [0, 1, 3], [9, 9, 9], [0, 1, 10]])
    cameras = Cameras(np.eye(4)[None], 40.0, np.full((1, 2), 16.0), (32, 32))
    ids = ZBuffer(False).face_ids(vertices, faces, cameras)
    assert set(np.unique(ids)) == {-1, 0}


@pytest.mark.parametrize("compiled", [False, True])
def test_edge_on_sheet_gives_empty_view(compiled):
    """A view that shows nothing is empty.

    As of a sheet seen from its edge.
    """
    sheet = np.array([[-1.0, 0, -4], [1, 0, -4], [0, 0, -6]])
    renderer = ZBuffer(False)
    renderer._draw = _draw_loops if compiled else renderer._draw
    cameras = Cameras(np.eye(4)[None], 40.0, np.full((1, 2), 16.0), (32, 32))
    assert (renderer.face_ids(sheet, np.array([[0, 1, 2]]), cameras) == -1).all()
    assert (renderer.rasterize(sheet, np.array([[0, 1, 2]]), cameras).face_id == -1).all()


def test_large_mesh_clipped_at_image_border(cube):
    """A mesh larger than the image is cut at the image's borders."""
    near = orbit_cameras(cube.used(), 1, 32)
    zoomed = Cameras(near.pose, near.focal * 20, np.full((1, 2), 16.0), near.size)
    ids = ZBuffer(False).face_ids(cube.vertices, cube.faces, zoomed)
    assert (ids >= 0).all()


def test_small_faces_cover_sphere():
    """Many small faces cover a sphere without holes."""
    ball = from_trimesh(trimesh.creation.icosphere(subdivisions=5))
    cameras = orbit_cameras(ball.used(), 2, 96)
    ids = ZBuffer(False).face_ids(ball.vertices, ball.faces, cameras)
    y, x = np.mgrid[:96, :96] + 0.5 - 48
    inside = np.hypot(x, y) < 42
    assert (ids[:, inside] >= 0).all()
    assert (ids[:, np.hypot(x, y) > 45] == -1).all()
