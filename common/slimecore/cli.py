"""Shared pieces of the command lines, and ``slime`` itself. Only a cli prints or exits.

Exit status: 0 done, 1 failed, 2 wrong use or bad input with one line that says what, where and what to do.
"""

from __future__ import annotations

import argparse
import sys
import traceback
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

from slimecore.errors import InputProblems, SlimeError

__all__ = ["Parser", "add_common", "guarded", "main", "make_parser", "version"]


def version() -> str:
    """Version of the installed distribution."""
    try:
        return metadata.version("slime-toolkit")
    except metadata.PackageNotFoundError:
        return "0+uninstalled"


class Parser(argparse.ArgumentParser):
    """Argument parser whose errors are one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)

    def error(self, message: str) -> Any:
        """Print one line and exit with status 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def make_parser(program: str, description: str) -> tuple[Parser, Any]:
    """Parser of a program with ``--version``, and the place its commands are added to."""
    parser = Parser(prog=program, description=description)
    parser.add_argument("--version", action="version", version=f"{program} {version()}")
    return parser, parser.add_subparsers(dest="command", metavar="COMMAND", required=True)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options every command has."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def guarded(program: str, debug: bool, action: Callable[[], int]) -> int:
    """Run a command; turn an error into one line (a list of problems into one line each) and a status.

    Parameters
    ----------
    program : str
        Name in front of the message.
    debug : bool
        Print the traceback too.
    action : callable
        Returns the status.

    Returns
    -------
    int
        0 done, 1 failed, 2 bad input, 130 interrupted.
    """
    try:
        return action()
    except InputProblems as error:
        status, text = 2, "\n".join(error.lines())
    except SlimeError as error:
        status, text = 2, " ".join(str(error).split())
    except KeyboardInterrupt:
        status, text = 130, "interrupted; what was written is kept"
    except MemoryError:
        status, text = 1, "out of memory; use a smaller --size or --preset fast"
    except Exception as error:  # noqa: BLE001 # the last line of defence: users get one line, --debug gets the rest
        status, text = 1, f"unexpected {type(error).__name__}: {' '.join(str(error).split())} (--debug shows where)"
    if debug:
        traceback.print_exc()
    sys.stderr.writelines(f"{program}: {line}\n" for line in text.splitlines())
    return status


def _parser() -> Parser:
    parser, commands = make_parser("slime", "Learn parts from annotated images; segment images with them.")
    show = commands.add_parser(
        "show",
        help="say what a part-embedding file holds",
        description="Say what a part-embedding file holds.",
    )
    show.add_argument("parts", type=Path, metavar="PARTS", help="parts.safetensors")
    add_common(show)
    return parser


def _show(path: Path) -> int:
    from slimecore.artifacts import load_embeddings

    embeddings = load_embeddings(path)
    _, tokens, dim = embeddings.vectors.shape
    print(f"model     {embeddings.model} ({embeddings.revision})")
    print(f"tokens    {tokens} a part, {dim} wide")
    for value, name, (r, g, b) in zip(
        embeddings.parts.values, embeddings.parts.names, embeddings.parts.colors, strict=True
    ):
        print(f"{value:>4}  #{r:02x}{g:02x}{b:02x}  {name}")
    for key, setting in sorted(embeddings.settings.items()):
        print(f"      {key} = {setting}")
    return 0


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point of ``slime``."""
    arguments = _parser().parse_args(argv)
    return guarded("slime", arguments.debug, lambda: _show(arguments.parts))
