"""Answers as a table, as CSV or as JSON lines."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Iterable, Sequence
from typing import Literal, TextIO

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.predict.answer import Answer

Format = Literal["table", "csv", "jsonl"]
Named = Iterable[tuple[str, Sequence[Answer]]]
"""Images with their answers, best first."""

SUFFIXES: dict[str, Format] = {".csv": "csv", ".jsonl": "jsonl", ".json": "jsonl", ".txt": "table"}


def write_table(file: TextIO, levels: Sequence[str], top: int, named: Named) -> None:
    """One row an answer, a column a level: the name, and its probability. Printed at the end, for it has widths."""
    rows = list(named)
    folders = {os.path.dirname(name) for name, _ in rows}
    shared = os.path.commonpath(folders) if folders and "" not in folders else ""  # by all images: said once
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("image", *levels):
        table.add_column(title, overflow="fold")
    for name, answers in rows:
        shown = os.path.relpath(name, shared) if shared else name
        for place, answer in enumerate(answers):
            cells = zip(answer.path, answer.probabilities, strict=True)
            texts = [Text.assemble(label, (f" {p:.2f}", "dim")) for label, p in cells] or [Text("unsure", "dim")]
            table.add_row(Text("" if place else shown), *texts)
    console = Console(file=file) if file.isatty() else Console(file=file, width=120)
    if shared:
        console.print(Text(f"in {shared}", "dim"), soft_wrap=True)
    console.print(table)


def write_csv(file: TextIO, levels: Sequence[str], top: int, named: Named) -> None:
    """``image,<level>,p(<level>),…``; with several answers an image, ``place`` counts them from 1."""
    writer = csv.writer(file, lineterminator="\n")
    columns = [column for level in levels for column in (level, f"p({level})")]
    writer.writerow(["image", *(["place"] if top > 1 else []), *columns])
    for name, answers in named:
        for place, answer in enumerate(answers, 1):
            cells = [cell for v, p in zip(answer.path, answer.probabilities, strict=True) for cell in (v, f"{p:.4f}")]
            cells += [""] * (len(columns) - len(cells))
            writer.writerow([name, *([place] if top > 1 else []), *cells])


def write_json_lines(file: TextIO, levels: Sequence[str], top: int, named: Named) -> None:
    """One object an image: ``image``, ``path``, ``p``; with several answers the others under ``more``."""
    for name, answers in named:
        first, *others = [{"path": a.path, "p": [round(p, 6) for p in a.probabilities]} for a in answers]
        more = {"more": others} if top > 1 else {}
        file.write(json.dumps({"image": name, **first, **more}, ensure_ascii=False) + "\n")


WRITERS: dict[Format, Callable[[TextIO, Sequence[str], int, Named], None]] = {
    "table": write_table,
    "csv": write_csv,
    "jsonl": write_json_lines,
}
