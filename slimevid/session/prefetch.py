"""Prepare the next frame in another thread while the present one is labelled.

Decoding, encoding and flow do not depend on labels. Memory, fusion and writing do. In two threads they take about as
long as the longer half. Each half gets half of torch's threads, because two pools that share cores are slower than one.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

__all__ = ["prefetch"]

T = TypeVar("T")


class _HalfThreads:
    """Context that halves torch's threads while any prefetch of this process is running, in any nesting order."""

    def __init__(self) -> None:
        self._lock, self._open, self._threads = threading.Lock(), 0, 1

    def __enter__(self) -> None:
        with self._lock:
            if not self._open:
                self._threads = torch.get_num_threads()
                torch.set_num_threads(max(1, self._threads // 2))  # threads started later inherit this
            self._open += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._open -= 1
            if not self._open:
                torch.set_num_threads(self._threads)


_HALF_THREADS = _HalfThreads()


def prefetch(items: Iterator[T], prepare: Callable[[T, T | None], T], before: T | None = None) -> Iterator[T]:
    """Yield prepared items in order, each fetched and prepared while the consumer works on the previous one.

    Parameters
    ----------
    items : iterator
        Advanced in the other thread only.
    prepare : callable(item, prepared previous item or None)
        Returns the prepared item. Runs in the other thread.
    before : optional
        The item before the first.

    Yields
    ------
    object
        An exception of the other thread is raised here, after the items before it.
    """

    def fetch() -> tuple[T] | None:
        nonlocal before
        for item in items:
            before = prepare(item, before)
            return (before,)
        return None

    with _HALF_THREADS, ThreadPoolExecutor(1, "prefetch") as pool:
        waiting = pool.submit(fetch)
        while (item := waiting.result()) is not None:
            waiting = pool.submit(fetch)
            yield item[0]
