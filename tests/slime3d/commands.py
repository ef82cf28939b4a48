"""Run commands that must fail."""

from __future__ import annotations

from slime3d.cli import main


def refused(capsys, arguments, message, *absent):
    """Assert that a command fails with a single line holding ``message`` and writes none of the paths ``absent``."""
    assert main([str(a) for a in arguments]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert message in error
    for path in absent:
        assert not path.exists()
