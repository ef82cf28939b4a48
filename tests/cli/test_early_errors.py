"""Wrong paths are reported before heavy modules are imported."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WALKER = Path(__file__).resolve().parents[2] / "examples" / "walker"
CODE = """
import sys
from {module} import main
status = main({arguments!r})
assert "torch" not in sys.modules, "torch was imported"
sys.exit(status)
"""


@pytest.mark.parametrize(
    ("module", "arguments", "message"),
    [
        ("slimevid.cli", ["run", "none.mp4", "--ref", "none.png"], "no such clip: none.mp4"),
        ("slimevid.cli", ["run", str(WALKER / "clip.mp4"), "--ref", "none.png"], "no such mask: none.png"),
        (
            "slimevid.cli",
            ["run", str(WALKER / "clip.mp4"), "--ref", str(WALKER / "reference.png"), "--parts", "none.safetensors"],
            "no such file: none.safetensors",
        ),
        ("slimecore.cli", ["learn", "none.png", "mask.png", "--out", "x.safetensors"], "no such file: none.png"),
        ("slimecore.cli", ["segment", "none.safetensors", "a.png", "--out", "x"], "no such file: none.safetensors"),
        ("slime3d.cli", ["run", "none.glb", "--ref", "none.png"], "no such mesh: none.glb"),
    ],
)
def test_wrong_path_reported_before_torch(module, arguments, message, tmp_path):
    """A wrong path is a single line and status 2, and torch is not imported for it."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", CODE.format(module=module, arguments=arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
