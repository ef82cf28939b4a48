"""OFF files with comments and colours."""

from __future__ import annotations

import pytest

from slime3d.io.mesh import load_mesh
from slimecore.errors import InputError

V = ["0 0 0", "2 0 0", "2 2 0", "0 2 0"]
F = ["3 0 1 2", "3 0 2 3"]


def text(head, vertices=V, faces=F):
    """An OFF of a square."""
    return "\n".join([head, *vertices, *faces, ""])


@pytest.mark.parametrize(
    "content",
    [
        text("OFF\n# c\n\n4 2 0 # n"),
        text("OFF 4 2 0"),
        text("OFF\n4 2 0", ["0 0 0 # v", *V[1:], "# faces"]),
        text("OFF\n4 2 0") + "# end\n",
        "OFF\n4 2 0\n" + " ".join(V) + "\n" + " ".join(F),
        text("OFF\n4 2 0").replace("\n", "\r"),
    ],
)
def test_comments_and_breaks_change_nothing(tmp_path, content):
    """Comments and line breaks change nothing."""
    (tmp_path / "m.off").write_bytes(content.encode())
    mesh = load_mesh(tmp_path / "m.off")
    assert mesh.areas().tolist() == [2, 2]
    assert mesh.appearance.kind == "clay"


@pytest.mark.parametrize(
    "content",
    [
        text("COFF\n4 2 0", [f"{v} 255 0 0 255" for v in V]),
        text("COFF\n4 2 0", [f"{v} 1.0 0.0 0.0 1.0" for v in V]),
        text("OFF\n4 1 0", V, ["4 0 1 2 3 255 0 0"]),
        text("OFF\n4 2 0", V, [f"{f} 1.0 0.0 0.0" for f in F]),
    ],
    ids=["coff", "real", "polygon", "face"],
)
def test_colours_are_read(tmp_path, content):
    """Colours of vertices and faces are read, whole or real."""
    (tmp_path / "m.off").write_text(content)
    mesh = load_mesh(tmp_path / "m.off")
    assert mesh.appearance.colors.reshape(-1, 3).tolist() == [[255, 0, 0]] * 6


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (text("OFF\n4 3 0"), "announces 4 vertices and 3 faces, but 2 faces are there"),
        (text("OFF\n4 1 0"), "announces 4 vertices and 1 faces, but 2 faces are there"),
        (text("OFF\n4 2 0", V, ["3 0 1 2", "4 0 2 3"]), "face 1 has 3 of 4 corners"),
        (text("OFF\n4 2 0", ["0,5 0 0", *V[1:]]), "write decimal points"),
        ("OFF BINARY\n", "OFF BINARY is not supported"),
    ],
)
def test_other_count_is_refused(tmp_path, content, message):
    """A file that does not hold what it announces is refused."""
    (tmp_path / "m.off").write_text(content)
    with pytest.raises(InputError, match=message):
        load_mesh(tmp_path / "m.off")
