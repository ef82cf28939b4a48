"""Errors of every command: a single line and a status, and the traceback with ``--debug``."""

from __future__ import annotations

import pytest

from slimecore.cli_support import run_guarded
from slimecore.errors import InputError


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
