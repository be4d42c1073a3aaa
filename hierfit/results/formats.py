"""Summaries as Markdown, LaTeX and CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Callable, Sequence

from hierfit.results.group import Group, Row
from hierfit.results.sheet import HELPS, HURTS, READING, READING_DIFFERENCES, Sheet, sheets
from hierfit.results.statistics import Estimate

_CSV_HEADER = (
    *("data", "shots", "backbone", "test_images", "row", "seeds", "selected_on", "tuned_on", "column", "unit"),
    *("mean", "half_width", "n", "control", "difference", "difference_half_width", "difference_n", "verdict"),
)

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


def as_markdown(groups: Sequence[Group]) -> str:
    """A table a sheet, GitHub's dialect, figures to the right."""
    lines: list[str] = []
    for group in groups:
        lines += [line for sheet in sheets(group) for line in markdown_sheet(sheet)]
        lines += [line for note in group.notes for line in (f"> Note: {markdown(note)}", "")]
    return "\n".join([*lines, _reading(groups), ""])


def markdown_sheet(sheet: Sheet) -> list[str]:
    """Lines of a sheet: its title, the table, and an empty one."""
    rule = ("---", *("---:" for _ in sheet.header[1:]))
    rows = [_piped(sheet.header), f"|{'|'.join(rule)}|", *map(_piped, sheet.rows)]
    return [f"**{markdown(sheet.title)}**", "", *rows, ""]


def markdown(text: str) -> str:
    """Words as they are, whatever signs are in them."""
    return "".join(f"\\{sign}" if sign in "\\|*_`<>" else sign for sign in text)


def as_latex(groups: Sequence[Group]) -> str:
    """A ``table`` a sheet, for the booktabs package; helps and hurts are raised signs."""
    reading = _latex(_reading(groups))
    blocks = [f"% Needs \\usepackage{{booktabs}}. {reading}"]
    for group in groups:
        blocks += [_latex_table(sheet) for sheet in sheets(group)]
        blocks += [f"% Note: {_latex(note)}" for note in group.notes]
    return "\n\n".join(blocks) + "\n"


def as_csv(groups: Sequence[Group]) -> str:
    """A line for each row and column, for programs: fractions, not %; empty where there is no figure."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_CSV_HEADER)
    for group in groups:
        for row in group.rows:
            writer.writerows(_csv_rows(group, row))
    return text.getvalue()


FORMATS: dict[str, Callable[[Sequence[Group]], str]] = {"markdown": as_markdown, "latex": as_latex, "csv": as_csv}
"""Writers by the name the command line uses."""


def _reading(groups: Sequence[Group]) -> str:
    return f"{READING} {READING_DIFFERENCES}" if any(group.control for group in groups) else READING


def _piped(cells: Sequence[str]) -> str:
    return f"| {' | '.join(map(markdown, cells))} |"


def _latex_table(sheet: Sheet) -> str:
    lines = [f"    {' & '.join(map(_latex, cells))} \\\\" for cells in (sheet.header, *sheet.rows)]
    return "\n".join(
        [
            "\\begin{table}",
            "  \\centering",
            f"  \\caption{{{_latex(sheet.title)}}}",
            f"  \\begin{{tabular}}{{l{'r' * (len(sheet.header) - 1)}}}",
            "    \\toprule",
            lines[0],
            "    \\midrule",
            *lines[1:],
            "    \\bottomrule",
            "  \\end{tabular}",
            "\\end{table}",
        ]
    )


def _latex(text: str) -> str:
    return "".join(_LATEX.get(sign, sign) for sign in text)


def _csv_rows(group: Group, row: Row) -> list[list[object]]:
    facts = [group.data, "" if group.shots is None else group.shots, group.backbone, group.test_images]
    seeds = " ".join(map(str, row.seeds))
    differences = row.differences or (None,) * len(row.values)
    lines = []
    said = group.verdicts[row.name] or (None,) * len(row.values)
    for column, value, difference, verdict in zip(group.columns, row.values, differences, said, strict=True):
        lines.append(
            [
                *facts,
                row.name,
                seeds,
                row.selected_on,
                row.tuned_on,
                column.key,
                "fraction" if column.unit == "%" else column.unit,
                *_parts(value),
                group.control if row.differences else "",
                *_parts(difference),
                verdict or "",
            ]
        )
    return lines


def _parts(estimate: Estimate | None) -> list[object]:
    if estimate is None:
        return ["", "", 0]
    width = "" if math.isnan(estimate.half_width) else repr(estimate.half_width)
    return [repr(estimate.mean), width, estimate.n]
