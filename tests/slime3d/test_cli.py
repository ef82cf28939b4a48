"""The ``slime3d info`` command."""

from __future__ import annotations

import pytest
import trimesh

from slime3d.cli import main


@pytest.fixture
def cube():
    return trimesh.creation.box((1, 2, 3))


def test_info_prints_mesh_contents(tmp_path, cube, capsys):
    """``slime3d info`` prints the contents of a mesh."""
    cube.export(tmp_path / "cube.glb")
    assert main(["info", str(tmp_path / "cube.glb")]) == 0
    text = capsys.readouterr().out
    assert "faces     12 (0 without area)" in text
    assert "1 x 2 x 3" in text
