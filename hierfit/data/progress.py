"""How far the work on many pictures is: a bar with pace and time left in a terminal, lines in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn
from rich.progress import TimeRemainingColumn as Eta
from rich.table import Column
from rich.text import Text

T = TypeVar("T")


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:.0f} images/s")


def with_progress(batches: Iterable[T], total: int | None, title: str, size: Callable[[T], int]) -> Iterator[T]:
    """The batches, with a bar on stderr that is gone afterwards.

    Args:
        batches: Finished pieces of the work.
        total: Pictures in all of them; None if that is what is found out.
        title: Shown before the bar.
        size: Pictures in a batch.
    """
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), _Speed(Column(no_wrap=True)), Eta())
    with Progress(*columns, console=console, disable=not console.is_terminal, transient=True) as progress:
        task = progress.add_task(title, total=total)
        for batch in batches:
            yield batch
            progress.advance(task, size(batch))


def with_lines(batches: Iterable[T], total: int, size: Callable[[T], int], every: float = 30.0) -> Iterator[T]:
    """The batches, with a line on stdout every so many seconds, where nobody sees a bar: in a log.

    Args:
        batches: Finished pieces of the work.
        total: Pictures in all of them.
        size: Pictures in a batch.
        every: Seconds between lines.
    """
    quiet = sys.stderr.isatty()
    done, started = 0, time.monotonic()
    said = started
    for batch in batches:
        yield batch
        done, now = done + size(batch), time.monotonic()
        if not quiet and now - said >= every:
            speed = done / (now - started)
            print(f"{done:,} of {total:,} · {speed:.0f} images/s · {clock((total - done) / speed)} left", flush=True)
            said = now


def clock(seconds: float) -> str:
    """``1:02:03``."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
