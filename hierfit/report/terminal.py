"""Sections for those without a browser: leads and the heads of their tables."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from hierfit.report.blocks import Findings, Omitted, Section, Table
from hierfit.report.evidence import Evidence
from hierfit.results.summary import print_groups


def print_sections(evidence: Evidence, sections: Sequence[Section | Omitted], console: Console | None = None) -> None:
    """Prints the summary's tables, then of each section what was found and the first rows that show it."""
    console = console or Console()
    print_groups([evidence.group], console)
    for section in sections:
        if isinstance(section, Omitted):
            continue
        tables = [block for block in section.blocks if isinstance(block, Table) and block.brief != 0]
        said = [line for block in section.blocks if isinstance(block, Findings) for line in block.sentences]
        if not tables and not said:
            continue
        console.print()
        console.print(Text(section.title, "bold"))
        console.print(Text(section.lead))
        for sentence in said:
            console.print(Text(f"· {sentence}"))
        for table in tables:
            _print(table, console)
    left_out = [section for section in sections if isinstance(section, Omitted)]
    if left_out:
        console.print()
        for section in left_out:
            console.print(Text(f"Left out: {section.title}: {section.why}", "dim"))


def _print(table: Table, console: Console) -> None:
    rows = table.rows if table.brief is None else table.rows[: table.brief]
    shown = RichTable(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for number, name in enumerate(table.header):
        shown.add_column(Text(name), justify="left" if number < table.labels else "right", overflow="fold")
    for row in rows:
        shown.add_row(*map(Text, row))
    if len(rows) < len(table.rows):
        shown.add_row("…")
    console.print()
    console.print(shown)
    console.print(Text(table.caption, "dim"))
