"""Build parsers, read settings and report errors for the command lines. Only command lines print or exit.

Exit status: 0 done, 1 failed, 2 wrong use or bad input. An error is a single line: problem, location and remedy.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout
from importlib import metadata
from pathlib import Path
from typing import Any, TypeVar

from slimecore.errors import InputError, InputProblems, SlimeError
from slimecore.runtime.terminal import SafeStream

__all__ = [
    "Parser",
    "add_common",
    "add_settings",
    "configured",
    "make_parser",
    "require_files",
    "run_guarded",
    "version",
]

T = TypeVar("T")
_OPTION_OF_SETTING = {"network_size": "--size"}


def version() -> str:
    """Return the version of the installed distribution."""
    try:
        return metadata.version("slime-toolkit")
    except metadata.PackageNotFoundError:
        return "0+uninstalled"


class Parser(argparse.ArgumentParser):
    """Argument parser that reports an error as a single line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("allow_abbrev", False)
        super().__init__(*args, **kwargs)
        self.register("type", Path, _path)

    def error(self, message: str) -> Any:
        """Print a single line and exit with status 2."""
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")


def _path(text: str) -> Path:
    """Return `text` as a path. An empty text, usually an unset shell variable, would mean the working folder."""
    if not text.strip():
        raise argparse.ArgumentTypeError("the path is empty")
    return Path(text)


def make_parser(program: str, description: str) -> tuple[Parser, Any]:
    """Return the parser of a program with ``--version``, and the subparsers action for its commands."""
    parser = Parser(prog=program, description=description)
    parser.add_argument("--version", action="version", version=f"{program} {version()}")
    return parser, parser.add_subparsers(dest="command", metavar="COMMAND", required=True)


def add_common(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command."""
    parser.add_argument("--debug", action="store_true", help="show the traceback of an error")


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add the options of every command with settings."""
    parser.add_argument("--device", metavar="NAME", help="auto (default), cpu, cuda or mps")
    parser.add_argument("--seed", type=int, metavar="N", help="seed of everything random (default 0)")
    parser.add_argument("--config", type=Path, metavar="FILE", help="YAML settings")
    parser.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE", help="one setting, such as seed=1; may be repeated"
    )


def configured(config: T, arguments: argparse.Namespace, direct: Mapping[str, Any]) -> T:
    """Apply ``--config``, then ``--device``, ``--seed`` and `direct`, then ``--set``.

    Parameters
    ----------
    config : dataclass instance
        Default settings.
    arguments : argparse.Namespace
        Parsed options of :func:`add_settings`.
    direct : mapping
        Nested settings of the command's own options. None: the option was not given.

    Returns
    -------
    dataclass instance
        Of the type of `config`.

    Raises
    ------
    ConfigError
        A key is unknown, or a value is out of range.
    """
    from slimecore.config import apply, load_yaml, parse_assignments
    from slimecore.errors import ConfigError

    if arguments.config:
        config = apply(config, load_yaml(arguments.config), where=str(arguments.config))
    options = {"device": arguments.device, "seed": arguments.seed, **direct}
    given = {k: v for k, v in options.items() if v is not None}
    try:
        config = apply(config, given, where="command line")
    except ConfigError:
        for key, value in given.items():  # name the option, if a single option is wrong
            apply(config, {key: value}, where=_OPTION_OF_SETTING.get(key, f"--{key.replace('_', '-')}"))
        raise
    return apply(config, parse_assignments(arguments.set), where="--set")


def require_files(paths: Iterable[Path]) -> None:
    """Check that files or folders exist, before heavy modules are imported.

    Raises
    ------
    InputError
        A path does not exist, or is a pipe or device. The message names the first.
    """
    for path in paths:
        if not path.exists():
            raise InputError(f"no such file: {path}")
        if not (path.is_file() or path.is_dir()):
            raise InputError(f"{path}: no regular file; save it as a file first")


def run_guarded(program: str, debug: bool, action: Callable[[], int]) -> int:
    """Run a command and turn an error into a line of text and a status.

    A list of problems becomes a line each.

    Parameters
    ----------
    program : str
        Program name in front of the message.
    debug : bool
        Print the traceback too.
    action : callable
        Runs the command and returns its status.

    Returns
    -------
    int
        0 done, 1 failed, 2 bad input, 130 interrupted, 143 terminated.
    """
    with ExitStack() as stack:
        stack.enter_context(redirect_stdout(SafeStream(sys.stdout)))
        stack.enter_context(redirect_stderr(SafeStream(sys.stderr)))
        return _run(program, debug, action)


class _Terminated(KeyboardInterrupt):
    """The process was asked to end by a signal: unwind as after Ctrl-C."""


@contextmanager
def _signals_as_interrupts() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end the block as Ctrl-C does, so that nothing is left half."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    numbers = [getattr(signal, name) for name in names]
    if threading.current_thread() is not threading.main_thread():
        numbers = []  # only the main thread may set handlers
    chosen = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]

    is_ending = False

    def end(_number: int, _frame: Any) -> None:
        nonlocal is_ending
        if not is_ending:  # a second signal must not stop the tidying up
            is_ending = True
            raise _Terminated

    for number in chosen:
        signal.signal(number, end)
    try:
        yield
    finally:
        for number in chosen:
            signal.signal(number, signal.SIG_DFL)


def _run(program: str, debug: bool, action: Callable[[], int]) -> int:
    failure: BaseException
    try:
        with _signals_as_interrupts():
            return action()
    except InputProblems as error:
        failure, status, text = error, 2, "\n".join(error.lines())
    except SlimeError as error:
        failure, status, text = error, 2, " ".join(str(error).split())
    except _Terminated as error:
        failure, status, text = error, 143, "terminated; what was written is kept"
    except KeyboardInterrupt as error:
        failure, status, text = error, 130, "interrupted; what was written is kept"
    except BrokenPipeError:  # the reader of our output, for instance head, has closed the pipe
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except MemoryError as error:
        failure, status, text = error, 1, "out of memory; use a smaller --size or --preset fast"
    except Exception as error:  # noqa: BLE001 # users get a single line, --debug prints the traceback
        text = f"unexpected {type(error).__name__}: {' '.join(str(error).split())} (--debug shows where)"
        failure, status = error, 1
    if debug:
        traceback.print_exception(failure)
    sys.stderr.writelines(f"{program}: {line}\n" for line in text.splitlines())
    return status
