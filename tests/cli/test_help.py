"""Command lines as text: golden help, and an answer before torch is imported."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

GOLDEN = Path(__file__).resolve().parents[1] / "golden"
PROGRAMS = {"slime": "slimecore.cli", "slimevid": "slimevid.cli", "slime3d": "slime3d.cli"}
CASES = [
    ("slime", []),
    ("slimevid", []),
    ("slime3d", []),
    ("slime", ["learn"]),
    ("slime", ["segment"]),
    ("slime", ["eval"]),
    ("slime", ["show"]),
    ("slime", ["export"]),
    ("slimevid", ["run"]),
    ("slimevid", ["info"]),
    ("slimevid", ["frame"]),
    ("slimevid", ["eval"]),
    ("slimevid", ["davis"]),
    ("slimevid", ["eval-tracks"]),
    ("slime3d", ["info"]),
    ("slime3d", ["render"]),
    ("slime3d", ["run"]),
    ("slime3d", ["transfer"]),
    ("slime3d", ["eval"]),
]


def call(program, *arguments):
    code = f"import sys; from {PROGRAMS[program]} import main; sys.exit(main(sys.argv[1:]))"
    path = os.pathsep.join([*filter(None, sys.path)])
    environment = {**os.environ, "COLUMNS": "100", "PYTHONPATH": path, "NO_COLOR": "1"}
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, env=environment, check=False
    )


@pytest.mark.golden
@pytest.mark.parametrize(("program", "command"), CASES, ids=lambda v: v if isinstance(v, str) else "-".join(v) or "top")
def test_help_matches_golden_text(program, command):
    """The help equals the stored text.

    Change it on purpose: ``SLIME_GOLDEN=1 pytest tests/cli`` rewrites the texts. Say so in the changelog.
    """
    result = call(program, *command, "--help")
    assert result.returncode == 0
    # Python 3.13 prints "-o, --out DIR" style and colours differently; the words must stay.
    file = GOLDEN / f"help_{'_'.join([program, *command])}.txt"
    if os.environ.get("SLIME_GOLDEN"):
        file.write_text(result.stdout)
    assert result.stdout == file.read_text()


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_does_not_import_torch(program):
    """The help does not import torch."""
    code = (
        f"import sys, contextlib, io\nfrom {PROGRAMS[program]} import main\n"
        "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n    main(['--help'])\n"
        "heavy = {'torch', 'diffusers', 'cv2', 'av', 'trimesh', 'numpy'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    path = os.pathsep.join([*filter(None, sys.path)])
    result = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert result.returncode == 0, result.stderr


def test_help_within_half_a_second():
    """The help answers within half a second.

    The best of five: other work on the machine is not the command's fault.
    """
    spent = []
    for _ in range(5):
        started = time.perf_counter()
        call("slimevid", "--help")
        spent.append(time.perf_counter() - started)
    assert min(spent) < 0.5


@pytest.mark.parametrize("program", PROGRAMS)
def test_wrong_usage_gives_status_2(program):
    """Wrong usage gives a single line and status 2."""
    result = call(program, "no-such-command")
    assert result.returncode == 2
    assert result.stderr.count("\n") == 1
    assert "no-such-command" in result.stderr


def test_show_prints_parts_file(tmp_path):
    """``slime show`` prints the contents of a parts file."""
    import numpy as np

    from slimecore.io.embeddings import save_embeddings
    from slimecore.types import PartEmbeddings, Parts

    parts = Parts((0, 4), ("background", "wheel"), ((0, 0, 0), (0, 0, 128)))
    save_embeddings(
        tmp_path / "p.safetensors", PartEmbeddings(parts, np.zeros((2, 3, 5)), np.ones(2), "m", "r", {"seed": 1})
    )
    result = call("slime", "show", str(tmp_path / "p.safetensors"))
    assert result.returncode == 0
    assert "3 a part, 5 wide" in result.stdout
    assert "   4  #000080  wheel" in result.stdout
