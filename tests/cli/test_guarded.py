"""Errors of every command: a single line and a status, and the traceback with ``--debug``."""

from __future__ import annotations

import signal
import sys

import pytest

from slimecore.cli_support import run_guarded
from slimecore.errors import InputError
from slimecore.io.atomic_files import atomic_path


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (InputError("no such\nfile"), 2, "slime: no such file"),
        (ZeroDivisionError("by\nzero"), 1, "slime: unexpected ZeroDivisionError: by zero (--debug shows where)"),
        (MemoryError(), 1, "slime: out of memory; use a smaller --size or --preset fast"),
        (KeyboardInterrupt(), 130, "slime: interrupted; what was written is kept"),
    ],
)
@pytest.mark.parametrize("debug", [False, True])
def test_error_single_line_traceback_with_debug(error, status, line, debug, capsys):
    """An error is a single line, and with ``--debug`` its origin is shown."""

    def failing_here() -> int:
        raise error

    assert run_guarded("slime", debug, failing_here) == status
    written = capsys.readouterr().err.splitlines()
    assert written[-1] == line
    assert ("in failing_here" in "\n".join(written)) == debug
    assert debug or len(written) == 1


def test_control_characters_never_printed(capsys):
    """Output, notes and errors show control characters as escapes."""

    def printing() -> int:
        print("node \x1b]0;title\x07")
        sys.stderr.write("note: \x1b[2J\n")
        raise InputError("part \x9b31m \udc80")

    assert run_guarded("slime", False, printing) == 2
    out, err = capsys.readouterr()
    assert out == "node \\x1b]0;title\\x07\n"
    assert err == "note: \\x1b[2J\nslime: part \\x9b31m \\udc80\n"


@pytest.mark.parametrize("name", ["SIGTERM", "SIGHUP"])
def test_termination_tidies_up(name, capsys, tmp_path):
    """A signal to end unwinds as Ctrl-C does: temporary files go, and a line says so."""
    number = getattr(signal, name)
    before = signal.getsignal(number)

    def working() -> int:
        with atomic_path(tmp_path / "result.png") as temporary:
            temporary.touch()
            signal.raise_signal(number)
        return 0

    assert run_guarded("slime", False, working) == 143
    assert capsys.readouterr().err == "slime: terminated; what was written is kept\n"
    assert list(tmp_path.iterdir()) == []
    assert signal.getsignal(number) is before
