"""How far the work on many pictures is: a bar with pace and time left, in a terminal only."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress import TimeRemainingColumn as Eta
from rich.text import Text

T = TypeVar("T")


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.0f} images/s")


def with_progress(batches: Iterable[T], total: int, title: str, size: Callable[[T], int]) -> Iterator[T]:
    """The batches, with a bar on stderr that is gone afterwards.

    Args:
        batches: Finished pieces of the work.
        total: Pictures in all of them.
        title: Shown before the bar.
        size: Pictures in a batch.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(), Eta())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=total)
        for batch in batches:
            yield batch
            progress.advance(task, size(batch))
