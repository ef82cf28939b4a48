"""A labelled cart as source, and a target of other proportions and paint."""

from __future__ import annotations

import numpy as np
import pytest
import trimesh

from slime3d.cli import main
from slimecore.io.masks import write_mask
from tests.slime3d.figures import cart

SMALL = ["--views", "4", "--size", "96"]


def save_colored(mesh, path):
    """Write a mesh with its face colours."""
    look = trimesh.visual.ColorVisuals(face_colors=mesh.appearance.colors[:, 0])
    trimesh.Trimesh(mesh.vertices, mesh.faces, visual=look, process=False, validate=False).export(path)
    return path


@pytest.fixture(scope="session")
def done(tmp_path_factory):
    """A cart labelled by ``slime3d run`` from two views, its parts 1 box, 2 wheel, 5 window."""
    root = tmp_path_factory.mktemp("source")
    mesh, part = cart()
    truth = np.array([1, 2, 5])[part]
    path = save_colored(mesh, root / "cart.ply")
    assert main(["render", str(path), "--out", str(root / "views"), *SMALL]) == 0
    refs = []
    for view in (0, 1):
        ids = np.load(root / "views" / f"view_{view:03d}.faces.npy")
        write_mask(root / f"{view}.png", np.where(ids >= 0, truth[ids], 0))
        refs += ["--ref", f"{view}={root / f'{view}.png'}"]
    (root / "names.json").write_text('{"1": "box", "2": "wheel", "5": "window"}')
    out = root / "out"
    more = ["--names", str(root / "names.json"), "--set", "turntable_frames=0", "--quiet"]
    assert main(["run", str(path), "--out", str(out), *refs, *SMALL, *more]) == 0
    return out


@pytest.fixture
def other(tmp_path):
    """A van: mesh file and true part values of its faces."""
    mesh, part = cart(3.0, 0.9, (30, 60, 200))
    return save_colored(mesh, tmp_path / "van.ply"), np.array([1, 2, 5])[part]
