"""Draw a progress bar with speed and remaining time on standard error."""

from __future__ import annotations

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

__all__ = ["Progress", "bar"]

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

    Nothing is drawn where standard error is no terminal.

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
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _stage, _done, _total: None
        return
    with _Bar(*columns, console=console, transient=True) as progress:
        tasks = {stage: progress.add_task(title, total=None, visible=False) for stage, title in stages.items()}

        def notify(stage: str, done: int, total: int) -> None:
            for name, task in tasks.items():
                progress.update(task, visible=name == stage)
            progress.update(tasks[stage], completed=done, total=total)

        yield notify
