"""STL files with trailing or missing bytes."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from slime3d.io.mesh import load_mesh
from slimecore.errors import InputError

FACET = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0]], float)


def binary(facets=3, announced=3, head=b"part"):
    """A binary STL."""
    one = struct.pack("<12fH", 0, 0, 1, *FACET.reshape(-1), 0)
    return head.ljust(80, b" ") + struct.pack("<I", announced) + one * facets


def solid(name, end=True):
    """A text STL of a facet."""
    corners = "".join("   vertex {:g} {:g} {:g}\n".format(*p) for p in FACET)
    body = f"solid {name}\n facet normal 0 0 1\n  outer loop\n{corners}  endloop\n endfacet\n"
    return body + (f"endsolid {name}\n" if end else "")


@pytest.mark.parametrize(
    ("data", "faces", "notes"),
    [
        (binary(), 3, 0),
        (binary() + b"\r\n", 3, 1),
        (binary(head=b"solid x"), 3, 0),
        (solid("vertex_cube").encode(), 1, 0),
        (solid("a", end=False).encode(), 1, 1),
        (solid("A").upper().encode(), 1, 0),
        (solid("a").replace("\n", "\r").encode(), 1, 0),
    ],
    ids=["plain", "tail", "solid", "name", "no-end", "upper", "cr"],
)
def test_stl_variants_are_read(tmp_path, data, faces, notes):
    """Trailing bytes, names and missing ends do not change the facets."""
    (tmp_path / "m.stl").write_bytes(data)
    mesh = load_mesh(tmp_path / "m.stl")
    np.testing.assert_array_equal(mesh.vertices[mesh.faces], [FACET] * faces)
    assert len(mesh.notes) == notes


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (binary()[:-70], "announces 3 facets, but 1 are there"),
        (binary(announced=0), "announces 0 facets, but 3 are there"),
        (solid("a")[:-40].encode(), "cut off within a facet"),
        (solid("a").replace("1 0 0", "1,5 0 0").encode(), "write decimal points"),
        (b"", "too few"),
    ],
)
def test_cut_stl_is_refused(tmp_path, data, message):
    """A cut or damaged file is refused with what is wrong with it."""
    (tmp_path / "m.stl").write_bytes(data)
    with pytest.raises(InputError, match=message):
        load_mesh(tmp_path / "m.stl")


def test_solids_keep_their_names(tmp_path):
    """Every solid of a text file is a node with its name."""
    (tmp_path / "m.stl").write_text(solid("my solid part") + solid("lid"))
    assert load_mesh(tmp_path / "m.stl").node_names == ("my solid part", "lid")
