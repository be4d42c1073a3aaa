"""This process among others, what to type to run another one, and text where not every character can be held: consoles
of Windows, logs in ASCII, odd file names."""

from __future__ import annotations

import codecs
import os
import re
import shutil
import sys
import textwrap
import unicodedata
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

_ALIKE = {
    "✗": "x", "✓": "v", "·": "-", "→": "->", "←": "<-", "…": "...", "–": "-", "—": "-", "×": "x", "±": "+/-", "≤": "<=",
    "≥": ">=", "−": "-", "λ": "lambda", "α": "alpha", "τ": "tau", "Δ": "delta", "‘": "'", "’": "'", "“": '"', "”": '"',
    "├": "|", "└": "`", "│": "|", "─": "-", "•": "*",
}  # fmt: skip
ALIKE = "hierfit.alike"
"""Errors of an encoding: what is most alike is written; ``caf\\xe9`` for a file name whose bytes are no text."""


def tolerate_any_character() -> None:
    """Lets standard output and error write what is most alike for a character that their encoding does not have."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", "") in ("strict", "surrogateescape") and hasattr(stream, "reconfigure"):
            stream.reconfigure(errors=ALIKE)


def is_text(name: str) -> bool:
    """Whether a name can be written into a file; one whose bytes are not of the system's encoding cannot."""
    return not any("\ud800" <= letter <= "\udfff" for letter in name)


def as_text(name: str) -> str:
    """A name as it can be written: ``caf\\xe9``."""
    return name.encode(errors=ALIKE).decode()


def file_name(text: str) -> str:
    """A name of a file or folder for any text, such as a row's."""
    return re.sub(r"[^\w.=-]+", "-", text).strip("-.") or "row"


def print_hanging(console: Console, text: str, style: str = "", indent: int = 2, mark: str = "") -> None:
    """Prints a text behind a mark, its further lines below its own beginning; words, paths and line ends stay."""
    from rich.text import Text

    below = " " * (indent + len(mark))
    wrapped: list[str] = []
    for line in text.splitlines():
        first = below if wrapped else " " * indent + mark
        wrapped += textwrap.wrap(line, max(console.width, 40), initial_indent=first, subsequent_indent=below,
                                 break_long_words=False, break_on_hyphens=False)  # fmt: skip
    console.print(Text("\n".join(wrapped), style), soft_wrap=True)


def _replacement(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    return "".join(map(_letter, error.object[error.start : error.end])), error.end


def _letter(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":  # a byte of a file's name
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return _ALIKE.get(letter) or unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode() or "?"


codecs.register_error(ALIKE, _replacement)


def process_number() -> int:
    """Number of this process among those that torchrun, SLURM or Lightning have started; 0 for the first."""
    numbers = (int(os.environ.get(name) or 0) for name in ("RANK", "SLURM_PROCID", "LOCAL_RANK"))
    return next(filter(None, numbers), 0)


def shown(path: Path) -> str:
    """A path as one types it here."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def program() -> str:
    """What to type to run hierfit here: its name, or its path where the name would not be found."""
    called = Path(sys.argv[0])
    return shown(called) if called.name == "hierfit" and shutil.which("hierfit") is None else "hierfit"


def say(line: str) -> None:
    """Prints a line at once; in a terminal, broken between words."""
    wide = textwrap.fill(line, shutil.get_terminal_size().columns, break_on_hyphens=False)
    print(wide if sys.stdout.isatty() else line, flush=True)
