"""Tables for people (terminal, Markdown, LaTeX, HTML) and for programs (CSV)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from textwrap import wrap
from typing import Literal

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from hierfit.results.statistics import Estimate
from hierfit.results.table import HELPS, HURTS, WORDS, Cell, Column, Table

_STYLES = {HELPS: "green", HURTS: "red"}
_GAP = 2  # between columns of a terminal
_HEADER = 9  # a header of several words is broken where it is wider than this and than its cells

# LaTeX reads UTF-8 but has no glyph for these in text.
_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    "±": r"$\pm$",
    "−": "$-$",
    "·": r"$\cdot$",
    "–": "--",
    HELPS: "$^{+}$",
    HURTS: "$^{-}$",
    **{"α": r"$\alpha$", "β": r"$\beta$", "γ": r"$\gamma$", "δ": r"$\delta$", "ε": r"$\epsilon$"},
    **{"κ": r"$\kappa$", "λ": r"$\lambda$", "μ": r"$\mu$", "σ": r"$\sigma$", "τ": r"$\tau$"},
}


def print_tables(tables: Sequence[Table], console: Console | None = None) -> None:
    """Prints tables, each with its notes, and once how to read them."""
    console = console or Console()
    for table in tables:
        for part in table.parts():
            print_table(part, console)
        for note in table.notes:
            console.print(Text(f"Note: {note}", "yellow"))
    for reading in _readings(tables):
        console.print()
        console.print(Text(reading, "dim"))


def print_table(table: Table, console: Console, most: int | None = None) -> None:
    """Prints title and rows; columns that do not fit beside the others follow below, under the rows' names again.

    Args:
        table: Its differences, notes and how to read it are not printed.
        console: Its width decides how many columns stand side by side.
        most: Rows shown; all if None.
    """
    texts, columns = table.texts()[:most], table.columns
    cells = [max((len(row[i]) for row in texts), default=1) for i in range(len(columns))]
    # Words are folded rather than let a table fall apart, but not to shreds.
    least = [max(8, console.width // 5) if column.unit == WORDS else 0 for column in columns]
    least[0] = max(8, 3 * console.width // 10)
    headers = [
        wrap(title, max(cells[i], least[i], _HEADER), break_long_words=False, break_on_hyphens=False)
        for i, title in enumerate(table.header)
    ]
    widths = [max(cell, *map(len, header), 0) for cell, header in zip(cells, headers, strict=True)]
    while sum(widths) + _GAP * (len(widths) - 1) > console.width:
        widest = max(
            (i for i, column in enumerate(columns) if column.unit == WORDS), key=lambda i: widths[i] - least[i]
        )
        if widths[widest] <= least[widest]:
            break
        widths[widest] -= 1
    console.print()
    console.print(Text(table.title, "dim"))
    for number, block in enumerate(_blocks(widths, console.width)):
        shown = RichTable(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
        lines = max(len(headers[index]) for index in (0, *block))
        for index in (0, *block):
            words = columns[index].unit == WORDS
            header = Text("\n".join([*[""] * (lines - len(headers[index])), *headers[index]]))
            justify: Literal["left", "right"] = "left" if words else "right"
            shown.add_column(header, justify=justify, overflow="fold", no_wrap=not words, width=widths[index])
        for row in texts:
            shown.add_row(Text(row[0]), *(Text(row[i], _STYLES.get(row[i][-1:], "")) for i in block))
        if len(texts) < len(table.rows):
            shown.add_row("…")
        if number:
            console.print()
        console.print(shown)


def _blocks(widths: Sequence[int], width: int) -> list[list[int]]:
    """Columns that fit side by side beside the rows' names; at least one a block."""
    blocks: list[list[int]] = [[]]
    left = room = width - widths[0]
    for index, needed in enumerate(widths[1:], 1):
        if blocks[-1] and left < needed + _GAP:
            blocks.append([])
            left = room
        blocks[-1].append(index)
        left -= needed + _GAP
    return blocks


def as_markdown(tables: Sequence[Table]) -> str:
    """GitHub's dialect, figures to the right."""
    lines: list[str] = []
    for table in tables:
        for part in table.parts():
            rules = ["---" if column.unit == WORDS else "---:" for column in part.columns]
            lines += [f"**{markdown(part.title)}**", "", _piped(part.header), f"|{'|'.join(rules)}|"]
            lines += [*map(_piped, part.texts()), ""]
        lines += [line for note in table.notes for line in (f"> Note: {markdown(note)}", "")]
    return "\n".join([*lines, *(markdown(reading) for reading in _readings(tables)), ""])


def markdown(text: str) -> str:
    """Words as they are, whatever signs are in them."""
    return "".join(f"\\{sign}" if sign in "\\|*_`<>" else sign for sign in text)


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(markdown, cells))} |"


def as_latex(tables: Sequence[Table]) -> str:
    """A ``table`` each, for the booktabs package; helps and hurts are raised signs."""
    blocks = [f"% Needs \\usepackage{{booktabs}}. {_latex(' '.join(_readings(tables)))}"]
    for table in tables:
        for part in table.parts():
            rows = [f"    {' & '.join(map(_latex, cells))} \\\\" for cells in (part.header, *part.texts())]
            kinds = "".join("l" if column.unit == WORDS else "r" for column in part.columns)
            above = ["\\begin{table}", "  \\centering", f"  \\caption{{{_latex(part.title)}}}"]
            above += [f"  \\begin{{tabular}}{{{kinds}}}", "    \\toprule", rows[0], "    \\midrule"]
            blocks.append("\n".join([*above, *rows[1:], "    \\bottomrule", "  \\end{tabular}", "\\end{table}"]))
        blocks += [f"% Note: {_latex(note)}" for note in table.notes]
    return "\n\n".join(blocks) + "\n"


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def as_html(tables: Sequence[Table]) -> str:
    """A part of a page: a ``table`` each below its title, then how to read them."""
    lines: list[str] = []
    for table in tables:
        for part in table.parts():
            lines += [f"<p>{escape(part.title)}</p>", html_table(part)]
        lines += [f"<p>Note: {escape(note)}</p>" for note in table.notes]
    return "\n".join([*lines, *(f"<p>{escape(reading)}</p>" for reading in _readings(tables)), ""])


def html_table(table: Table) -> str:
    """The ``table`` alone; cells of figures have the class ``figure``."""
    kinds = ["" if column.unit == WORDS else ' class="figure"' for column in table.columns]
    heads = zip(kinds, table.header, strict=True)
    header = "".join(f'<th scope="col"{kind}>{escape(title)}</th>' for kind, title in heads)
    lines = [f"<table>\n<thead><tr>{header}</tr></thead>\n<tbody>"]
    for name, *cells in table.texts():
        body = "".join(f"<td{kind}>{escape(cell)}</td>" for kind, cell in zip(kinds[1:], cells, strict=True))
        lines.append(f'<tr><th scope="row"{kinds[0]}>{escape(name)}</th>{body}</tr>')
    return "\n".join([*lines, "</tbody>\n</table>"])


def as_csv(tables: Sequence[Table]) -> str:
    """A line for each row and figure, for programs: fractions, not %; empty where there is no figure."""
    lines = [line for table in tables for line in _csv_lines(table)]
    text = io.StringIO()
    names = dict.fromkeys(name for line in lines for name in line)
    writer = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _csv_lines(table: Table) -> Iterator[dict[str, object]]:
    for row in table.rows:
        pairs = list(zip(table.columns, row, strict=True))
        facts = {column.key or column.header: _fact(cell, column) for column, cell in pairs if not column.is_figure}
        compared = any(cell.difference for cell in row)
        for column, cell in pairs:
            if column.is_figure:
                yield {
                    **{name: "" if value is None else value for name, value in table.facts.items()},
                    **facts,
                    "column": column.key or column.header,
                    "unit": "fraction" if column.unit == "%" else column.unit,
                    **_parts("mean", "half_width", "n", cell.value if isinstance(cell.value, Estimate) else cell),
                    "control": table.control if compared else "",
                    **_parts("difference", "difference_half_width", "difference_n", cell.difference),
                    "verdict": cell.mark or "",
                }


def _fact(cell: Cell, column: Column) -> str:
    return " ".join(map(str, cell.value)) if isinstance(cell.value, tuple) else cell.text(column)


def _parts(mean: str, half_width: str, count: str, found: Estimate | Cell | None) -> dict[str, object]:
    if isinstance(found, Estimate):
        width = "" if math.isnan(found.half_width) else repr(found.half_width)
        return {mean: repr(found.mean), half_width: width, count: found.n}
    if found is None or found.number is None:
        return {mean: "", half_width: "", count: 0}
    return {mean: repr(found.number), half_width: "", count: found.of or 1}


FORMATS: dict[str, Callable[[Sequence[Table]], str]] = {
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
    "html": as_html,
}
"""Writers by the name the command line uses."""


def _readings(tables: Sequence[Table]) -> list[str]:
    return list(dict.fromkeys(table.reading for table in tables if table.reading))
