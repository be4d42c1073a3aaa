"""Answers as a table, as CSV or as JSON lines."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Sequence
from typing import Literal, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.predict.answer import Answer

Format = Literal["table", "csv", "jsonl"]
Write = Callable[[str, Sequence[Answer]], None]

SUFFIXES: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".json": "jsonl", ".txt": "table"}


class AsTable:
    """One row an answer, a column a level: the name, and its probability. Printed at the end, for it has widths."""

    def __init__(self, file: TextIO, levels: Sequence[str], top: int) -> None:
        self._console = Console(file=file) if file.isatty() else Console(file=file, width=120)
        self._levels = levels
        self._rows: list[tuple[str, Sequence[Answer]]] = []

    def write(self, name: str, answers: Sequence[Answer]) -> None:
        """One image."""
        self._rows.append((name, answers))

    def close(self) -> None:
        """Prints; what all images' folders share is said once."""
        folders = {os.path.dirname(name) for name, _ in self._rows}
        shared = os.path.commonpath(folders) if folders and "" not in folders else ""
        table = Table(box=None, pad_edge=False, header_style="bold")
        table.add_column("image", overflow="fold")
        for level in self._levels:
            table.add_column(level, overflow="fold")
        for name, answers in self._rows:
            shown = os.path.relpath(name, shared) if shared else name
            for place, answer in enumerate(answers):
                cells = zip(answer.path, answer.probabilities, strict=True)
                texts = [Text.assemble(label, (f" {p:.2f}", "dim")) for label, p in cells] or [Text("unsure", "dim")]
                table.add_row(Text("" if place else shown), *texts)
        if shared:
            self._console.print(Text(f"in {shared}", "dim"), soft_wrap=True)
        self._console.print(table)


class AsCsv:
    """``image,<level>,p(<level>),…``; with several answers an image, ``place`` counts them from 1."""

    def __init__(self, file: TextIO, levels: Sequence[str], top: int) -> None:
        self._writer = csv.writer(file, lineterminator="\n")
        self._levels, self._top = len(levels), top
        columns = [column for level in levels for column in (level, f"p({level})")]
        self._writer.writerow(["image", *(["place"] if top > 1 else []), *columns])

    def write(self, name: str, answers: Sequence[Answer]) -> None:
        """One image."""
        for place, answer in enumerate(answers, 1):
            cells = [cell for v, p in zip(answer.path, answer.probabilities, strict=True) for cell in (v, f"{p:.4f}")]
            cells += [""] * (2 * self._levels - len(cells))
            self._writer.writerow([name, *([place] if self._top > 1 else []), *cells])

    def close(self) -> None:
        """Nothing is left to write."""


class AsJsonLines:
    """One object an image: ``image``, ``path``, ``p``; with several answers the others under ``more``."""

    def __init__(self, file: TextIO, levels: Sequence[str], top: int) -> None:
        self._file, self._top = file, top

    def write(self, name: str, answers: Sequence[Answer]) -> None:
        """One image."""
        first, *others = [{"path": a.path, "p": [round(p, 6) for p in a.probabilities]} for a in answers]
        more = {"more": others} if self._top > 1 else {}
        self._file.write(json.dumps({"image": name, **first, **more}, ensure_ascii=False) + "\n")

    def close(self) -> None:
        """Nothing is left to write."""


WRITERS: dict[Format, type[AsTable] | type[AsCsv] | type[AsJsonLines]] = {
    "table": AsTable,
    "csv": AsCsv,
    "jsonl": AsJsonLines,
}
