"""Do the next frame's groundwork while this one is being labelled.

Decoding, encoding and flow do not depend on labels; memory, fusion and writing do. Run in two threads they take about
as long as the longer half. Each half gets half of torch's threads: two pools that share cores are slower than one.
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
    """Half of torch's threads while anything of this process reads ahead, however many do, in whatever order."""

    def __init__(self) -> None:
        self._lock, self._open, self._threads = threading.Lock(), 0, 1

    def __enter__(self) -> None:
        with self._lock:
            if not self._open:
                self._threads = torch.get_num_threads()
                torch.set_num_threads(max(1, self._threads // 2))  # a thread that starts after takes it over
            self._open += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._open -= 1
            if not self._open:
                torch.set_num_threads(self._threads)


_HALVED = _HalfThreads()


def prefetch(items: Iterator[T], prepare: Callable[[T, T | None], None], before: T | None = None) -> Iterator[T]:
    """Items in order, the next one fetched and prepared in another thread while the consumer works on this one.

    Parameters
    ----------
    items : iterator
        Advanced in the other thread only.
    prepare : callable(item, the one before it or None)
        Runs in the other thread.
    before : optional
        The one before the first.

    Yields
    ------
    object
        What raises in the other thread is raised here, after the items before it.
    """

    def fetch() -> tuple[T] | None:
        nonlocal before
        for item in items:
            prepare(item, before)
            before = item
            return (item,)
        return None

    with _HALVED, ThreadPoolExecutor(1, "ahead") as pool:
        waiting = pool.submit(fetch)
        while (found := waiting.result()) is not None:
            waiting = pool.submit(fetch)
            yield found[0]
