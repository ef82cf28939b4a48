"""Sources and targets of a transfer."""

from __future__ import annotations

import pytest

from slime3d.transfer.sources import mesh_files, read_annotated
from slimecore.errors import InputError


def test_moved_source_mesh_found_by_option(done, other, tmp_path):
    """A source mesh that moved is found when its path is given."""
    lonely = tmp_path / "lonely"
    lonely.mkdir()
    (lonely / "labels.json").write_bytes((done / "labels.json").read_bytes())
    found = read_annotated(lonely, done.parent / "cart.ply")
    assert found.parts.values == (0, 1, 2, 5)
    assert (found.rows >= 0).all()
    assert read_annotated(done, None).mesh_path.resolve() == (done.parent / "cart.ply").resolve()


def test_equal_mesh_names_refused(other, tmp_path):
    """Two meshes of the same name are refused."""
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / "van.ply").write_bytes(other[0].read_bytes())
    with pytest.raises(InputError, match="both be written as van"):
        mesh_files([other[0], tmp_path / "b"])
    assert mesh_files([tmp_path / "b"]) == [("van", tmp_path / "b" / "van.ply")]
