"""Shared pieces of the command lines. Only a cli prints or exits.

Exit status: 0 done, 1 failed, 2 wrong use or bad input with one line that says what, where and what to do.
"""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from slimecore.errors import InputProblems, SlimeError

__all__ = ["Parser", "add_common", "add_settings", "configured", "make_parser", "run_guarded", "version"]

T = TypeVar("T")
_OPTIONS = {"network_size": "--size"}


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
        self.register("type", Path, _path)

    def error(self, message: str) -> Any:
        """Print one line and exit with status 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _path(text: str) -> Path:
    """A path; one without any letter is what a variable nobody set leaves, and would mean the folder one is in."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def make_parser(program: str, description: str) -> tuple[Parser, Any]:
    """Parser of a program with ``--version``, and the place its commands are added to."""
    parser = Parser(prog=program, description=description)
    parser.add_argument("--version", action="version", version=f"{program} {version()}")
    return parser, parser.add_subparsers(dest="command", metavar="COMMAND", required=True)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Options every command has."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Options of every command that has settings."""
    parser.add_argument("--device", metavar="NAME", help="auto (default), cpu, cuda or mps")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of everything random (default 0)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML settings")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, such as seed=1; may be repeated"
    )


def configured(config: T, arguments: argparse.Namespace, direct: Mapping[str, Any]) -> T:
    """Settings under ``--config``, then the options in `direct` that were given, then ``--set``.

    Raises
    ------
    ConfigError
        An unknown key or a value out of range.
    """
    from slimecore.config import apply, load_yaml, parse_assignments
    from slimecore.errors import ConfigError

    if arguments.config:
        config = apply(config, load_yaml(arguments.config), where=str(arguments.config))
    given = {"device": arguments.device, "seed": arguments.seed, **direct}
    chosen = {k: v for k, v in given.items() if v is not None}
    try:
        config = apply(config, chosen, where="command line")
    except ConfigError:
        for key, value in chosen.items():  # which option it was, where it is one alone
            apply(config, {key: value}, where=_OPTIONS.get(key, f"--{key.replace('_', '-')}"))
        raise
    return apply(config, parse_assignments(arguments.set), where="--set")


def run_guarded(program: str, debug: bool, action: Callable[[], int]) -> int:
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
    failure: BaseException
    try:
        return action()
    except InputProblems as error:
        failure, status, text = error, 2, "\n".join(error.lines())
    except SlimeError as error:
        failure, status, text = error, 2, " ".join(str(error).split())
    except KeyboardInterrupt as error:
        failure, status, text = error, 130, "interrupted; what was written is kept"
    except BrokenPipeError:  # the reader of our output, such as head, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError as error:
        failure, status, text = error, 1, "out of memory; use a smaller --size or --preset fast"
    except Exception as error:  # noqa: BLE001 # the last line of defence: users get one line, --debug gets the rest
        text = f"unexpected {type(error).__name__}: {' '.join(str(error).split())} (--debug shows where)"
        failure, status = error, 1
    if debug:
        traceback.print_exception(failure)
    sys.stderr.writelines(f"{program}: {line}\n" for line in text.splitlines())
    return status
