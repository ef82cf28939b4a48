"""The recipes of docs/how-to/extend.md run exactly as they are written."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
import trimesh

from slime3d.cli import main as slime3d
from slimevid.cli import main as slimevid

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "how-to" / "extend.md").read_text(encoding="utf-8")
RECIPE = re.compile(r'```python title="([\w.]+)"\n(.*?)```\n\n```sh\n(.*?)```', re.DOTALL)
RESULTS = {
    "translate.py": "masks/00005.png",
    "farneback.py": "masks/00005.png",
    "border.py": "masks/00005.png",
    "outlines.py": "outlines/00005.png",
    "lab_patches.py": "masks/00005.png",
    "painter.py": "view_001.png",
}


def test_recipes_are_complete():
    """Every kind of plug-in has a recipe with a file and a command."""
    assert [name for name, *_ in RECIPE.findall(PAGE)] == list(RESULTS)


@pytest.mark.parametrize("recipe", RECIPE.findall(PAGE), ids=lambda recipe: recipe[0])
def test_recipe_runs_as_written(recipe, tmp_path, monkeypatch):
    """A recipe's file is saved, its command is run, and its result exists."""
    name, code, command = recipe
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples" / "walker", tmp_path / "examples" / "walker")
    trimesh.creation.icosphere(1).export(tmp_path / "ball.ply")
    (tmp_path / name).write_text(code, encoding="utf-8")
    program, *arguments = shlex.split(command)
    assert {"slimevid": slimevid, "slime3d": slime3d}[program](arguments) == 0
    out = arguments[arguments.index("--out") + 1]
    assert (tmp_path / out / RESULTS[name]).is_file()


def test_changed_plugin_refuses_resume(tmp_path, monkeypatch, capsys):
    """A run is not resumed with a plug-in file that has changed."""
    _, code, command = RECIPE.findall(PAGE)[0]
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples" / "walker", tmp_path / "examples" / "walker")
    (tmp_path / "translate.py").write_text(code, encoding="utf-8")
    arguments = shlex.split(command)[1:]
    assert slimevid(arguments) == 0
    (tmp_path / "translate.py").write_text(code + "\n# changed\n", encoding="utf-8")
    capsys.readouterr()
    assert slimevid([*arguments, "--resume"]) == 2
    assert "translate.py changed" in capsys.readouterr().err
