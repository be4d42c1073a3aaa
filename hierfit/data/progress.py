"""How far long work is: a bar with the time left in a terminal, a line every few seconds in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column

T = TypeVar("T")

_BAR_EVERY, _LINE_EVERY, _LINE_MOST = 0.2, 5.0, 60.0
"""Seconds between two states that are shown; of lines, rarer as the work gets longer."""


class Meter:
    """Shows the state of some work; a context whose end is the work's. No thread of its own: others may fork.

    Args:
        title: Of the work.
        total: Pieces in all; None if that is what is found out.
        unit: What they are: ``steps``.
        done: Pieces that were done before.
        console: Where to; default: stderr.
        stays: The end of the work is shown, too, and stays in a terminal.
    """

    def __init__(
        self,
        title: str,
        total: int | None,
        unit: str,
        done: int = 0,
        console: Console | None = None,
        stays: bool = False,
    ) -> None:
        self.title, self.total, self.unit, self.stays = title, total, unit, stays
        self._before = self._done = done
        self._note: Callable[[], str] | None = None
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._started = self._shown = time.monotonic()

    def __enter__(self) -> Meter:
        if self._console.is_interactive:
            title = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=3))
            text = TextColumn(
                "{task.fields[text]}", table_column=Column(no_wrap=True, min_width=min(self._console.width // 2, 48))
            )
            bar = BarColumn(None, table_column=Column(ratio=2, min_width=8))
            self._bar = Progress(title, bar, text, console=self._console, auto_refresh=False, expand=True)
            self._bar.live.transient = not self.stays
            self._bar.add_task(escape(self.title), total=self.total, completed=self._before, text="")
            self._bar.start()
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        seconds = time.monotonic() - self._started
        if self._bar is not None:
            self._draw(self._text(f"in {clock(seconds)}"))
            self._bar.stop()
        elif self.stays and kind is None:
            self._print(f"in {clock(seconds)}")

    def note(self, note: Callable[[], str]) -> None:
        """What else there is to say at the end."""
        self._note = note

    def show(self, done: int, note: Callable[[], str] | None = None) -> None:
        """Shows that so many pieces are done, now and then.

        Args:
            done: With those of before.
            note: Asked for what else there is to say when it is shown; default: the pace.
        """
        now = time.monotonic()
        self._done, self._note = done, note
        passed = now - self._started
        every = _BAR_EVERY if self._bar is not None else min(max(passed / 20, _LINE_EVERY), _LINE_MOST)
        if now - self._shown < every:
            return
        self._shown = now
        pace = max(done - self._before, 1e-9) / passed
        left = "" if self.total is None else f"{clock((self.total - done) / pace)} left"
        if note is None:
            left += f" · {pace:.3g} {self.unit}/s"
        if self._bar is None:
            self._print(left)
        else:
            self._draw(self._text(left))

    def _text(self, when: str, unit: str = "") -> str:
        total = "" if self.total is None else f"/{self.total:,}"
        return " · ".join(filter(None, (f"{self._done:,}{total}{unit}", when, self._note and self._note())))

    def _draw(self, text: str) -> None:
        assert self._bar is not None
        self._bar.update(self._bar.task_ids[0], completed=self._done, text=escape(text))
        self._bar.refresh()

    def _print(self, when: str) -> None:
        text = f"{self.title}: {self._text(when, f' {self.unit}')}"
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()


def with_progress(batches: Iterable[T], total: int | None, title: str, size: Callable[[T], int]) -> Iterator[T]:
    """The batches; how far they are is shown on stderr.

    Args:
        batches: Finished pieces of the work.
        total: Pictures in all of them; None if that is what is found out.
        title: Of the work.
        size: Pictures in a batch.
    """
    done = 0
    with Meter(title, total, "images") as meter:
        for batch in batches:
            yield batch
            done += size(batch)
            meter.show(done)


def clock(seconds: float) -> str:
    """``1:02:03``."""
    whole = int(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02}:{whole % 60:02}"
