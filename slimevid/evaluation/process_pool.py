"""Independent pieces of work in several processes, or in this one."""

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
    """Give `jobs` back if it is a number of processes.

    Raises
    ------
    ConfigError
        It is below 1.
    """
    if jobs < 1:
        raise ConfigError(f"--jobs must be 1 or more, got {jobs}")
    return jobs


def map_processes(
    function: Callable[[Item], Result], items: Sequence[Item], jobs: int
) -> Iterator[tuple[Item, Result]]:
    """Call a function on every item; give pairs as they are done.

    Parameters
    ----------
    function : callable
        Of a module's top level: processes are started fresh (forking a process that has threads can hang).
    items : sequence
    jobs : int
        Processes; with 1 everything runs here, in order.

    Raises
    ------
    ConfigError
        `jobs` is below 1.
    OutputError
        A process was killed, for want of memory most likely.
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
