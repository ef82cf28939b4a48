"""A progress bar with frames a second and time left, on standard error."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

__all__ = ["bar"]

_WORDS = {"segment": "segmenting", "evaluate": "measuring"}


class _FramesPerSecond(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed:.1f} fps" if task.speed else "", style="progress.data.speed")


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """Give a function ``notify(stage, done, total)`` that draws the bar; only a terminal gets one."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        _FramesPerSecond(),
        TimeRemainingColumn(),
    )
    console = Console(stderr=True)
    if not console.is_terminal:
        yield lambda _stage, _done, _total: None
        return
    with Progress(*columns, console=console, transient=True) as progress:
        tasks = {"learn": progress.add_task("learning parts", total=1, visible=False)}

        def notify(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                progress.update(tasks["learn"], visible=False)
                tasks[stage] = progress.add_task(_WORDS.get(stage, stage), total=total)
            progress.update(tasks[stage], completed=done, total=total, visible=True)

        yield notify
