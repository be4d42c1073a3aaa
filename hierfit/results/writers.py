"""Tables for people (terminal, Markdown, LaTeX, HTML) and for programs (CSV)."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from html import escape
from textwrap import wrap

from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from hierfit.results.table import HELPS, HURTS, WORDS, Cell, Estimate, Table

_STYLES = {HELPS: "green", HURTS: "red"}
_GAP = 2  # between columns of a terminal
_WORD = 9  # a header of several words is broken where it is wider than this and than its cells

# LaTeX reads UTF-8 but has no glyph for these in text.
_LATEX = {
    **{"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}"},
    **{"<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", "–": "--"},
    **{sign: f"\\{sign}" for sign in "&%$#_{}"},
    **{"±": r"$\pm$", "−": "$-$", "·": r"$\cdot$", HELPS: "$^{+}$", HURTS: "$^{-}$"},
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
    """Prints title and rows (at most so many); columns that do not fit beside the others follow below, under the rows'
    names again."""
    texts, headers, needed = table.texts()[:most], [], []
    for i, (column, title) in enumerate(zip(table.columns, table.header, strict=True)):
        cells = max((len(row[i]) for row in texts), default=1)
        # Words are folded rather than let a table fall apart, but not to shreds.
        least = max(8, console.width // 5 if i else 3 * console.width // 10) if column.unit == WORDS else _WORD
        headers.append(wrap(title, max(cells, least), break_long_words=False, break_on_hyphens=False))
        width = max([cells, *map(len, headers[-1])])
        needed.append(min(width, least) if column.unit == WORDS else width)
    console.print()
    console.print(Text(table.title, "dim"))
    for number, block in enumerate(_side_by_side(needed, console.width)):
        shown = RichTable(box=None, pad_edge=False, header_style="bold", padding=(0, _GAP, 0, 0))
        for i in block:
            words = table.columns[i].unit == WORDS
            header = Text("\n".join(headers[i]))
            shown.add_column(header, justify="left" if words else "right", overflow="fold", no_wrap=not words)
        for row in texts:
            shown.add_row(*(Text(row[i], _STYLES.get(row[i][-1:], "") if i else "") for i in block))
        if len(texts) < len(table.rows):
            shown.add_row("…")
        if number:
            console.print()
        console.print(shown)


def _side_by_side(widths: Sequence[int], width: int) -> list[list[int]]:
    """Columns that fit beside each other, the rows' names first in each block; at least one more."""
    blocks: list[list[int]] = [[0]]
    for i in range(1, len(widths)):
        if len(blocks[-1]) > 1 and sum(widths[j] + _GAP for j in blocks[-1]) + widths[i] > width:
            blocks.append([0])
        blocks[-1].append(i)
    return blocks


def _document(
    tables: Sequence[Table], part: Callable[[Table], str], note: Callable[[str], str], reading: Callable[[str], str]
) -> str:
    """Blocks with a blank line between: of each table its parts and its notes; then how to read them."""
    blocks = [block for table in tables for block in (*map(part, table.parts()), *map(note, table.notes))]
    return "\n\n".join([*blocks, *map(reading, _readings(tables))]) + "\n"


def _readings(tables: Sequence[Table]) -> list[str]:
    return list(dict.fromkeys(table.reading for table in tables if table.reading))


def as_markdown(tables: Sequence[Table]) -> str:
    """GitHub's dialect, figures to the right."""

    def piped(cells: Sequence[str]) -> str:
        return f"| {' | '.join(map(markdown, cells))} |"

    def part(table: Table) -> str:
        rules = "|".join("---" if column.unit == WORDS else "---:" for column in table.columns)
        rows = [piped(table.header), f"|{rules}|", *map(piped, table.texts())]
        return "\n".join([f"**{markdown(table.title)}**", "", *rows])

    return _document(tables, part, lambda note: f"> Note: {markdown(note)}", markdown)


def markdown(text: str) -> str:
    """Words as they are, whatever signs are in them."""
    return "".join(f"\\{sign}" if sign in "\\|*_`<>" else sign for sign in text)


def as_latex(tables: Sequence[Table]) -> str:
    """A ``table`` each, for the booktabs package; helps and hurts are raised signs."""

    def plain(text: str) -> str:
        return "".join(_LATEX.get(sign, sign) for sign in text)

    def part(table: Table) -> str:
        header, *rows = (f"    {' & '.join(map(plain, cells))} \\\\" for cells in (table.header, *table.texts()))
        kinds = "".join("l" if column.unit == WORDS else "r" for column in table.columns)
        above = ["\\begin{table}", "  \\centering", f"  \\caption{{{plain(table.title)}}}"]
        above += [f"  \\begin{{tabular}}{{{kinds}}}", "    \\toprule", header, "    \\midrule"]
        return "\n".join([*above, *rows, "    \\bottomrule", "  \\end{tabular}", "\\end{table}"])

    text = _document(tables, part, lambda note: f"% Note: {plain(note)}", lambda reading: f"% {plain(reading)}")
    return f"% Needs \\usepackage{{booktabs}}.\n\n{text}"


def as_html(tables: Sequence[Table]) -> str:
    """A part of a page: a ``table`` each below its title, then how to read them."""

    def words(text: str) -> str:
        return f"<p>{escape(text)}</p>"

    return _document(tables, lambda t: f"{words(t.title)}\n{html_table(t)}", lambda n: words(f"Note: {n}"), words)


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
    lines = [line for table in tables for row in table.rows for line in _csv_lines(table, row)]
    text = io.StringIO()
    names = dict.fromkeys(name for line in lines for name in line)
    writer = csv.DictWriter(text, list(names), restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(lines)
    return text.getvalue()


def _csv_lines(table: Table, row: Sequence[Cell]) -> Iterator[dict[str, object]]:
    facts: dict[str, object] = {name: "" if value is None else value for name, value in table.facts.items()}
    named = [(column.key or column.header, column, cell) for column, cell in zip(table.columns, row, strict=True)]
    for name, column, cell in named:
        if not column.is_figure:
            facts[name] = " ".join(map(str, cell.value)) if isinstance(cell.value, tuple) else cell.text(column)
    compared = any(cell.difference for cell in row)
    for name, column, cell in named:
        if column.is_figure:
            mean, half_width, n = _numbers(cell.value, cell)
            difference, difference_half_width, pairs = _numbers(cell.difference, None)
            yield {
                **{**facts, "column": name, "unit": "fraction" if column.unit == "%" else column.unit},
                **{"mean": mean, "half_width": half_width, "n": n, "control": table.control if compared else ""},
                **{"difference": difference, "difference_half_width": difference_half_width, "difference_n": pairs},
                "verdict": cell.mark or "",
            }


def _numbers(found: object, cell: Cell | None) -> tuple[str, str, int]:
    """Mean, half-width and count of an estimate; of a cell that holds a bare number that number, of nothing nothing."""
    if isinstance(found, Estimate):
        return repr(found.mean), "" if math.isnan(found.half_width) else repr(found.half_width), found.n
    if cell is None or cell.number is None:
        return "", "", 0
    return repr(cell.number), "", cell.of or 1


TABLE_WRITERS: dict[str, Callable[[Sequence[Table]], str]] = {
    "markdown": as_markdown,
    "latex": as_latex,
    "csv": as_csv,
    "html": as_html,
}
"""Writers by the name the command line uses."""
