"""Figures of an evaluation."""

from __future__ import annotations

import sys

import pytest
from PIL import Image

from slimevid.evaluation.figures import draw_figures
from tests.slimevid.evaluation.commands import evaluation, run


def test_figures_drawn_deterministically(scene, tmp_path, capsys):
    """Figures are drawn, and are the same every time."""
    pytest.importorskip("matplotlib")
    root, results, copied = scene
    arguments = ["--davis", root, "--year", 2017, "--sequences", "one", "--quiet"]
    for name in ("f", "g"):
        assert run(results, copied, *arguments, "--figures", tmp_path / name) == 0
    drawn = sorted(p.name for p in (tmp_path / "f").iterdir())
    assert drawn == sorted(f"{n}.{k}" for n in ("one", "summary") for k in ("png", "svg"))
    for name in drawn:
        assert (tmp_path / "f" / name).read_bytes() == (tmp_path / "g" / name).read_bytes(), name
    with Image.open(tmp_path / "f" / "one.png") as picture:
        assert min(picture.size) > 400
    text = (tmp_path / "f" / "one.svg").read_text()
    for label in ("J (region), per cent", "F (boundary), per cent", "frame", "00001", "copy, object 2, mean"):
        assert label in text, label


def test_long_labels_leave_room(tmp_path):
    """Long labels leave room for the bars of a figure."""
    pytest.importorskip("matplotlib")
    several = [evaluation("a/long/path/" * 9 + str(i), [0.2]) for i in range(6)]
    assert len(draw_figures(tmp_path, several)) == 4  # a layout that does not fit is a warning, hence an error here


def test_missing_matplotlib_reported_first(scene, tmp_path, capsys, monkeypatch):
    """A missing matplotlib is reported in a single line before anything is measured."""
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setattr("slimevid.evaluation.figures.find_spec", lambda _name: None)
    root, results, _ = scene
    assert run(results, "--davis", root, "--year", 2017, "--figures", tmp_path / "f") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert "pip install 'slime-toolkit[plot]'" in err
    assert not list(results.glob("*.csv"))
