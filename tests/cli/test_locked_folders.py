"""Every command that fills a result folder refuses one that another process fills."""

from __future__ import annotations

import pytest

import slime3d.cli
import slimecore.cli
import slimevid.cli
from slimecore.io.result_folder import lock_folder


@pytest.mark.parametrize(
    ("main", "command"),
    [
        (slimecore.cli.main, ["segment", "file", "file"]),
        (slimevid.cli.main, ["run", "file", "--ref", "file"]),
        (slime3d.cli.main, ["render", "file"]),
        (slime3d.cli.main, ["run", "file", "--ref", "file"]),
        (slime3d.cli.main, ["transfer", "file", "file"]),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_locked_folder_refused(main, command, tmp_path, capsys):
    """A folder that is locked is refused in a line, before the input is read, and the lock stays."""
    file, out = tmp_path / "file", tmp_path / "out"
    file.touch()
    arguments = [str(file) if word == "file" else word for word in command]
    with lock_folder(out):
        assert main([*arguments, "--out", str(out)]) == 2
        assert [path.name for path in out.iterdir()] == [".lock"]
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    assert f"{out}: another process" in lines[0]
