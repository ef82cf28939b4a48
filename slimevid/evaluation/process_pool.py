"""Process independent items in several processes, or in the calling process."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import TypeVar

from slimecore.errors import ConfigError, OutputError

__all__ = ["map_processes", "require_jobs"]

Item = TypeVar("Item")
Result = TypeVar("Result")


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
    """Call a function on every item, in several processes.

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
    with ProcessPoolExecutor(min(jobs, len(items)), get_context("spawn")) as pool:
        waiting = {pool.submit(function, item): item for item in items}
        try:
            for future in as_completed(waiting):
                yield waiting[future], future.result()
        except BrokenProcessPool:
            raise OutputError("a process was killed, most likely for want of memory; use fewer --jobs") from None
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
