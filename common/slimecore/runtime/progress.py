"""Report progress on standard error: a bar in a terminal, a line every few seconds elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as _Bar
from rich.text import Text

from slimecore.runtime.terminal import raw_stream

__all__ = ["Progress", "bar"]

_LINE_INTERVAL_SECONDS = 5.0

Progress = Callable[[int, int, float], None]  # step, number of steps, loss


class _Speed(ProgressColumn):
    """Column with the speed of a stage in `unit`."""

    def __init__(self, unit: str) -> None:
        super().__init__()
        self._unit = unit

    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} {self._unit}" if task.speed else "", style="progress.data.speed")


@contextmanager
def bar(stages: Mapping[str, str], unit: str) -> Iterator[Callable[[str, int, int], None]]:
    """Yield a function ``notify(stage, done, total)`` that draws the bar.

    If standard error is no terminal, a line is written every few seconds instead.

    Parameters
    ----------
    stages : mapping of str to str
        Title of each stage. Only the current stage is displayed.
    unit : str
        Unit of the speed, for instance ``fps``.

    Yields
    ------
    callable
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _Speed(unit),
        TimeRemainingColumn(),
    )
    console = Console(file=raw_stream(sys.stderr))  # the bar is drawn with control characters
    if not console.is_terminal:
        yield _line_writer(stages, unit)
        return
    with _Bar(*columns, console=console, transient=True) as progress:
        tasks = {stage: progress.add_task(title, total=None, visible=False) for stage, title in stages.items()}

        def notify(stage: str, done: int, total: int) -> None:
            for name, task in tasks.items():
                progress.update(task, visible=name == stage)
            progress.update(tasks[stage], completed=done, total=total)

        yield notify


def _line_writer(stages: Mapping[str, str], unit: str) -> Callable[[str, int, int], None]:
    """Return a function ``notify(stage, done, total)`` that writes a line at most every few seconds."""
    last = time.monotonic()
    started: dict[str, tuple[float, int]] = {}  # time and count at the first call of a stage

    def notify(stage: str, done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        begin, first = started.setdefault(stage, (now, done))
        if now - last < _LINE_INTERVAL_SECONDS:
            return
        last = now
        speed = f", {(done - first) / (now - begin):.1f} {unit}" if done > first and now > begin else ""
        sys.stderr.write(f"{stages[stage]}: {done} of {total}{speed}\n")
        sys.stderr.flush()

    return notify
