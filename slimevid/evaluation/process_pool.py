"""Process independent items in several processes, or in the calling process."""

from __future__ import annotations

import _thread
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from typing import Any, TypeVar

from slimecore.errors import ConfigError, OutputError

__all__ = ["map_processes", "require_jobs"]

Item = TypeVar("Item")
Result = TypeVar("Result")
_GRACE_SECONDS = 2.0  # for a process to leave nothing half when it must end


def require_jobs(jobs: int) -> int:
    """Return `jobs` unchanged after checking it.

    Raises
    ------
    ConfigError
        `jobs` is below 1.
    """
    if jobs < 1:
        raise ConfigError(f"--jobs must be 1 or more, got {jobs}")
    return jobs


def map_processes(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int
) -> Iterator[tuple[Item, Result]]:
    """Call a function on every item, in several processes, which end with this one however it ends.

    Parameters
    ----------
    function : callable
        A module's top-level function, because processes are spawned. Forking a process with threads can hang.
    items : sequence
    jobs : int
        Number of processes. With 1, all items are processed in order in the calling process.

    Yields
    ------
    tuple of (item, result)
        In order of completion.

    Raises
    ------
    ConfigError
        `jobs` is below 1.
    OutputError
        A process was killed, most likely for lack of memory.
    """
    if require_jobs(jobs) == 1 or len(items) < 2:
        yield from ((item, function(item)) for item in items)
        return
    context = get_context("spawn")
    reader, writer = context.Pipe(duplex=False)  # closed by the system if this process dies
    with ProcessPoolExecutor(min(jobs, len(items)), context, _end_with, (reader,)) as pool:
        is_complete = False
        try:
            waiting = {pool.submit(partial(_call, function), item): item for item in items}
            for future in as_completed(waiting):
                yield waiting[future], future.result()
            is_complete = True
        except BrokenProcessPool:
            raise OutputError("a process was killed, most likely for want of memory; use fewer --jobs") from None
        finally:
            if not is_complete:
                writer.close()  # do not wait for the items in work
            pool.shutdown(wait=True, cancel_futures=True)
            writer.close()
            reader.close()


_is_working = _is_ending = False


def _call(function: Callable[[Item], Result], item: Item) -> Result:
    """Call the function in a worker. An interrupt ends the worker, after its files are tidied up."""
    global _is_working
    _is_working = True
    try:
        return function(item)
    except KeyboardInterrupt:
        os._exit(130)
    finally:
        _is_working = False


def _end_with(parent: Connection) -> None:
    """Begin to watch the parent process, in a worker."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    threading.Thread(target=_watch, args=(parent,), daemon=True).start()


def _interrupt(_number: int, _frame: Any) -> None:
    global _is_ending
    if not _is_working:
        os._exit(130)
    if not _is_ending:  # a second signal must not stop the tidying up
        _is_ending = True
        raise KeyboardInterrupt


def _watch(parent: Connection) -> None:
    """End this process once the parent has closed its end of the pipe, or died."""
    parent.poll(None)
    if sys.platform == "win32":
        _thread.interrupt_main()
    else:
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)  # also wakes it from a system call
    threading.Event().wait(_GRACE_SECONDS)
    os._exit(130)
