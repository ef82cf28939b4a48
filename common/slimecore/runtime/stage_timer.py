"""Wall-clock seconds of the stages of a command."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType

__all__ = ["StageTimer"]


class StageTimer:
    """Accumulate wall-clock seconds by stage name, on a monotonic clock.

    Examples
    --------
    >>> timer = StageTimer()
    >>> with timer.stage("load"):
    ...     pass
    >>> list(timer.seconds)
    ['load']
    """

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @property
    def seconds(self) -> Mapping[str, float]:
        """Read-only view of the seconds of every stage, in the order in which stages first ended."""
        return MappingProxyType(self._seconds)

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Add the duration of the block to stage `name`, also when the block raises."""
        started = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - started
