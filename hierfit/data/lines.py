"""Long lines in a narrow terminal."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text


def print_hanging(console: Console, text: str, style: str = "", indent: int = 2, mark: str = "") -> None:
    """Prints a text behind a mark, its further lines below its own beginning; words and paths stay whole."""
    wrapped = textwrap.wrap(
        text,
        max(console.width, 40),
        initial_indent=" " * indent + mark,
        subsequent_indent=" " * (indent + len(mark)),
        break_long_words=False,
        break_on_hyphens=False,
    )
    console.print(Text("\n".join(wrapped), style), soft_wrap=True)
