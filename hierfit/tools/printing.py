"""What the commands on data have in common when they print: long lines, counts, the order of splits."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

from rich.console import Console
from rich.text import Text

from hierfit.data.samples import READY_DRAW, SPLITS
from hierfit.taxonomy.checks import counted as counted


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


def listed(items: Sequence[str], most: int = 5) -> str:
    """``a, b, c and 4 more``."""
    more = f" and {len(items) - most} more" if len(items) > most else ""
    return ", ".join(items[:most]) + more


def split_order(name: str) -> tuple[int, int]:
    """Training first, small draws before large ones; then validation and test."""
    draw = READY_DRAW.fullmatch(name)
    return (0, int(draw[1])) if draw else (SPLITS.index(name) if name in SPLITS else len(SPLITS), 0)
