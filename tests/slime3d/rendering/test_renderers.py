"""The renderers against each other, and unknown or missing renderers."""

from __future__ import annotations

import builtins
import sys

import numpy as np
import pytest
import trimesh

from slime3d.rendering.cameras import Cameras, orbit_cameras
from slime3d.rendering.renderers import build_renderer
from slime3d.rendering.renderers.zbuffer import ZBuffer
from slimecore.errors import ConfigError, UnknownPlugin
from tests.slime3d.shapes import from_trimesh


@pytest.mark.parametrize("shape", ["square", (64, 90), (80, 60)])
@pytest.mark.parametrize("name", ["embree", "pytorch3d"])
def test_renderers_agree_with_zbuffer(name, shape, soup):
    """Other renderers agree with the z-buffer."""
    pytest.importorskip({"embree": "embreex"}.get(name, name))
    square = orbit_cameras(soup.used(), 6, 64)
    cameras = (
        square if shape == "square" else Cameras(square.pose, square.focal, square.centre + np.array([9, -4]), shape)
    )
    ours = ZBuffer().rasterize(soup.vertices, soup.faces, cameras)
    theirs = build_renderer(name).rasterize(soup.vertices, soup.faces, cameras)
    assert (ours.face_id == theirs.face_id).mean() > 0.999
    same = (ours.face_id == theirs.face_id) & (ours.face_id >= 0)
    np.testing.assert_allclose(ours.depth[same], theirs.depth[same], rtol=1e-4)
    np.testing.assert_allclose(ours.bary[same], theirs.bary[same], atol=1e-3)


@pytest.mark.parametrize("name", ["embree", "pytorch3d", "numba"])
def test_renderers_differ_only_at_face_borders(name):
    """On a closed surface renderers differ only where faces meet.

    Where ids differ, both faces share an edge or a corner, and the pixel's centre lies there.
    """
    pytest.importorskip({"embree": "embreex"}.get(name, name))
    ball = from_trimesh(trimesh.creation.icosphere(subdivisions=3))
    cameras = orbit_cameras(ball.used(), 5, 96)
    ours = ZBuffer(compiled=False).rasterize(ball.vertices, ball.faces, cameras)
    tool = ZBuffer() if name == "numba" else build_renderer(name)
    theirs = tool.rasterize(ball.vertices, ball.faces, cameras).face_id
    differ = ours.face_id != theirs
    assert differ.mean() < (1e-9 if name == "numba" else 2e-3)
    for a, b, bary in zip(ours.face_id[differ], theirs[differ], ours.bary[differ], strict=True):
        if min(a, b) < 0:  # at the outline
            assert a < 0 or bary.min() < 1e-3
        else:
            assert set(ball.faces[a]) & set(ball.faces[b])
            assert bary.min() < 1e-3


@pytest.mark.parametrize(("name", "module"), [("embree", "embreex"), ("pytorch3d", "pytorch3d")])
def test_missing_renderer_names_package(name, module, monkeypatch):
    """A renderer that is not installed names its package."""
    real = builtins.__import__

    def without(wanted, *rest, **named):
        if wanted.split(".")[0] == module:
            raise ModuleNotFoundError(f"No module named {wanted!r}", name=wanted)
        return real(wanted, *rest, **named)

    monkeypatch.delitem(sys.modules, module, raising=False)
    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=f"renderer {name} needs {module}, which is not installed"):
        build_renderer(name)


def test_unknown_renderer_names_nearest():
    """An unknown renderer names the nearest known renderer."""
    with pytest.raises(UnknownPlugin, match="zbuffer"):
        build_renderer("z-bufer")
