"""References on the command line."""

from __future__ import annotations

from pathlib import Path

from slime3d.labelling.annotated_views import Reference, parse_reference


def test_parse_reference_with_optional_view(tmp_path, monkeypatch):
    """References are masks with or without a view."""
    monkeypatch.chdir(tmp_path)
    assert parse_reference("a.png", 3) == Reference(3, Path("a.png"))
    assert parse_reference("5=b=c.png", 3) == Reference(5, Path("b=c.png"))
    (tmp_path / "5=b.png").touch()
    assert parse_reference("5=b.png", 3) == Reference(3, Path("5=b.png"))
