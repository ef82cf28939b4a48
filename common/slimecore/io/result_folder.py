"""Result folders: one writer at a time, and nothing written or deleted outside them."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from slimecore.errors import InputError, OutputError

if sys.platform != "win32":
    import fcntl

__all__ = ["lock_folder", "open_in_place", "refuse_links", "require_file_name"]

_LOCK = ".lock"


def require_file_name(name: str, source: str) -> str:
    """Return `name` unchanged if it names something inside a folder.

    Parameters
    ----------
    name : str
        Name that a file of the user gives, for instance a sequence of a list.
    source : str
        The file, for the message.

    Returns
    -------
    str

    Raises
    ------
    InputError
        The name is empty, ``.``, ``..`` or absolute, or holds a separator or a control character.
    """
    if name in ("", ".", "..") or name[1:2] == ":" or any(c in "/\\" or not c.isprintable() for c in name):
        raise InputError(f"{source}: {name!r} is no plain name; give names without folders and '..'")
    return name


def refuse_links(root: Path, paths: Iterable[Path]) -> None:
    """Refuse to write through a link that leads out of the result folder.

    Parameters
    ----------
    root : Path
        Result folder, which may be a link itself.
    paths : iterable of Path
        Files and folders in it that are written or emptied. They need not exist.

    Raises
    ------
    OutputError
        A path is a link to another place. The message names the first.
    """
    home = root.resolve()
    for path in paths:
        if path.is_symlink() and home not in path.resolve().parents:
            raise OutputError(f"{path} is a link out of the result folder; remove it or choose another --out")


def open_in_place(path: Path, *, keep: bool, **options: Any) -> IO[Any]:
    """Open a result file that grows in place, without following a link.

    Parameters
    ----------
    path : Path
    keep : bool
        Keep the content of an existing file.
    **options
        As of :func:`open`. Binary unless `encoding` is given.

    Returns
    -------
    file
        Readable and writable, at its beginning.

    Raises
    ------
    OSError
        The path is a link, or cannot be written.
    """

    def opener(name: str, _flags: int) -> int:
        flags = os.O_RDWR | os.O_CREAT | (0 if keep else os.O_TRUNC)
        return os.open(name, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0), 0o666)

    return open(path, "r+" if "encoding" in options else "r+b", opener=opener, **options)


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Keep other processes out of a result folder.

    The lock is a lock of the operating system on a hidden file, so it ends with the process, however that ends. The
    file is deleted at the end, and the folder too if it was made here and holds nothing.

    Parameters
    ----------
    folder : Path
        Created if it is missing.

    Raises
    ------
    OutputError
        Another process holds the lock, or the folder cannot be written.
    """
    created = [path for path in (folder, *folder.parents) if not path.exists()]
    file = folder / _LOCK
    try:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            descriptor = _acquire(file)
        except BlockingIOError:
            raise OutputError(
                f"{folder}: another process{_holder(file)} writes into it; wait, or choose another --out"
            ) from None
        except OSError as error:
            raise OutputError(f"cannot write into {folder}: {error.strerror or error}; choose another --out") from error
        try:
            yield
        finally:
            with suppress(OSError):
                file.unlink()
            os.close(descriptor)
    finally:
        for path in created:
            with suppress(OSError):  # it holds results
                path.rmdir()


def _acquire(file: Path) -> int:
    """Open and lock a file. A file that another process has just deleted is created anew."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0), 0o666)
        try:
            if sys.platform == "win32":  # no such locks there
                return descriptor
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise
            except OSError:  # a file system without locks
                return descriptor
            with suppress(FileNotFoundError):
                if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                    os.ftruncate(descriptor, 0)
                    os.write(descriptor, str(os.getpid()).encode())
                    return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)


def _holder(file: Path) -> str:
    """Return the number of the process that holds a lock, as a clause."""
    try:
        text = file.read_text(encoding="ascii")
    except (OSError, ValueError):
        return ""
    return f" ({text})" if text.isdigit() else ""
