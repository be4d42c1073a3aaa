"""Long lines in a narrow terminal."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text


def print_hanging(console: Console, text: str, style: str = "", indent: int = 2, mark: str = "") -> None:
    """Prints a text behind a mark, its further lines below its own beginning; words, paths and line ends stay."""
    below = " " * (indent + len(mark))
    wrapped: list[str] = []
    for line in text.splitlines():
        wrapped += textwrap.wrap(
            line,
            max(console.width, 40),
            initial_indent=below if wrapped else " " * indent + mark,
            subsequent_indent=below,
            break_long_words=False,
            break_on_hyphens=False,
        )
    console.print(Text("\n".join(wrapped), style), soft_wrap=True)


def counted(count: int, what: str) -> str:
    """``1 node``, ``2 nodes``."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
