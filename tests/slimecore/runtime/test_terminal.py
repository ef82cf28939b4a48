"""Control characters never reach the terminal."""

from __future__ import annotations

import io

import pytest

from slimecore.runtime.terminal import SafeStream, printable, raw_stream


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain\ttext é 頭\n", "plain\ttext é 頭\n"),
        ("\x1b[2J\x1b]0;title\x07", "\\x1b[2J\\x1b]0;title\\x07"),
        ("\x9b31m\x7f\x00", "\\x9b31m\\x7f\\x00"),
        ("abc\u202etxt.exe\u2028", "abc\\u202etxt.exe\\u2028"),
        ("\udc80 \ud83d", "\\udc80 \\ud83d"),
    ],
)
def test_control_characters_become_escapes(text, shown):
    """Escape sequences, marks that reverse text, and lone surrogates become escapes. Other text stays."""
    assert printable(text) == shown


def test_stream_passes_safe_text():
    """A safe stream passes safe text and everything else of the stream behind it."""
    behind = io.StringIO()
    stream = SafeStream(behind)
    print("a\x1b[1m", file=stream, flush=True)
    stream.writelines(["b\x07", "c"])
    assert behind.getvalue() == "a\\x1b[1m\nb\\x07c"
    assert stream.getvalue() == behind.getvalue()
    assert raw_stream(stream) is raw_stream(behind) is behind
