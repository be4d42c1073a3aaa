"""How far long work is: a bar with the time left in a terminal, a line every few seconds in a log."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn
from rich.table import Column
from rich.text import Text

_BAR_EVERY, _LINE_EVERY, _LINE_MOST = 0.2, 5.0, 60.0
"""Seconds between two states that are shown; of lines, rarer as the work gets longer."""


class Meter:
    """Shows the state of some work; a context whose end is the work's. No thread of its own: others may fork.

    Args:
        total: Pieces in all; None if that is what is found out.
        unit: What they are: ``steps``.
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
        self.done = self._before = done
        self._note: Callable[[], str] | None = None
        self._console = console or Console(stderr=True)
        self._bar: Progress | None = None
        self._started = self._shown = time.monotonic()

    def __enter__(self) -> Meter:
        if self._console.is_interactive:
            title = TextColumn("{task.description}", table_column=Column(no_wrap=True, overflow="ellipsis", ratio=3))
            bar = BarColumn(None, table_column=Column(ratio=2, min_width=8))
            place = Column(no_wrap=True, min_width=min(self._console.width // 2, 48))
            text = TextColumn("{task.fields[text]}", table_column=place)
            self._bar = Progress(title, bar, text, console=self._console, auto_refresh=False, expand=True)
            self._bar.live.transient = not self.stays
            self._bar.add_task(escape(self.title), total=self.total, completed=self._before, text="")
            self._bar.start()
        return self

    def __exit__(self, kind: Any, *_: object) -> None:
        end = self._text(f"in {clock(time.monotonic() - self._started)}")
        if self._bar is not None or (self.stays and kind is None):
            self._put(end)
        if self._bar is not None:
            self._bar.stop()

    def show(self, done: int, note: Callable[[], str] | None = None) -> None:
        """Shows that so many pieces are done, now and then.

        Args:
            note: Asked for what else there is to say when it is shown; default: the pace.
        """
        self.done, self._note = done, note
        now = time.monotonic()
        every = min(max((now - self._started) / 20, _LINE_EVERY), _LINE_MOST) if self._bar is None else _BAR_EVERY
        if now - self._shown >= every:
            self._shown = now
            self._put(self._state())

    def ended(self, done: int, line: str, note: Callable[[], str], important: bool = False) -> None:
        """Shows the end of a long piece: in a log a line; in a terminal the bar, and the line where it is important."""
        self.done, self._note = done, note
        if self._bar is None:
            self._print(f"[{self._state()}] {line}")
            return
        if important:
            self._bar.console.print(Text(line, "red"))
        self.tick()

    def tick(self) -> None:
        """Draws the bar anew as time goes by."""
        if self._bar is not None:
            self._put(self._state())

    def note(self, note: Callable[[], str]) -> None:
        """What else there is to say at the end."""
        self._note = note

    def _state(self) -> str:
        """How much is done, how long the rest takes at the pace of what was done here, and what else is to say."""
        pace = max(self.done - self._before, 1e-9) / max(time.monotonic() - self._started, 1e-9)
        left = "" if self.total is None else f"{clock((self.total - self.done) / pace)} left"
        if self.done == self._before:
            left = "starting"
        return self._text(left + (f" · {pace:.3g} {self.unit}/s" if self._note is None else ""))

    def _text(self, when: str) -> str:
        total = "" if self.total is None else f"/{self.total:,}"
        unit = f" {self.unit}" if self._bar is None else ""
        return " · ".join(filter(None, (f"{self.done:,}{total}{unit}", when, self._note and self._note())))

    def _put(self, text: str) -> None:
        if self._bar is None:
            self._print(f"{self.title}: {text}")
        else:
            self._bar.update(self._bar.task_ids[0], completed=self.done, text=escape(text))
            self._bar.refresh()

    def _print(self, text: str) -> None:
        self._console.print(text, markup=False, highlight=False, soft_wrap=True)
        self._console.file.flush()


def with_progress(
    batches: Iterable[Any], total: int | None, title: str, size: Callable[[Any], int] = lambda _: 1
) -> Iterator[Any]:
    """The batches; how far they are is shown on stderr.

    Args:
        total: Pictures in all of them; None if that is what is found out.
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
