"""Text for a terminal: control characters of other people's files are shown, not obeyed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TextIO

__all__ = ["SafeStream", "printable", "raw_stream"]

_ALLOWED = "\n\t\r"
_BIDI = {0x200E, 0x200F, 0x061C, *range(0x202A, 0x202F), *range(0x2066, 0x206A)}  # marks that reverse the text
_CONTROLS = {
    code: ascii(chr(code))[1:-1]
    for code in (*range(0x20), *range(0x7F, 0xA0), *_BIDI, 0x2028, 0x2029)
    if chr(code) not in _ALLOWED
}


def printable(text: str) -> str:
    r"""Return `text` with control characters and lone surrogates as escapes, such as ``\x1b``.

    Line breaks and tabs stay.
    """
    return text.translate(_CONTROLS).encode("utf-8", "backslashreplace").decode()


class SafeStream:
    """Text stream that passes :func:`printable` text to another stream.

    Parameters
    ----------
    stream : TextIO
        Standard output or standard error.
    """

    def __init__(self, stream: TextIO) -> None:
        self.raw = stream

    def write(self, text: str) -> int:
        """Write `text` without control characters, and return its length."""
        self.raw.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write every line without control characters."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.raw, name)


def raw_stream(stream: TextIO) -> TextIO:
    """Return the stream behind a :class:`SafeStream`, and any other stream as it is."""
    return stream.raw if isinstance(stream, SafeStream) else stream
