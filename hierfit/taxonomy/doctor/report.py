"""The report in a terminal."""

from __future__ import annotations

import textwrap

from rich.console import Console
from rich.text import Text

from hierfit.taxonomy.checks import SEVERITIES, Severity
from hierfit.taxonomy.doctor.examine import Report

_MARKS: dict[Severity, tuple[str, str]] = {"problem": ("✗", "red"), "warning": ("!", "yellow"), "note": ("·", "dim")}
_MOST = 12  # of a kind; a file that is no tree at all can have thousands
_SHAPES = 6  # levels whose sizes are listed
_DIFF_LINES = 40


def print_report(report: Report, console: Console) -> None:
    """Prints the file, its size, and what was found, gravest first."""
    given = report.given
    against = f" Against it would speak {given.against}." if given.against else ""
    console.print(Text(f"{given.source}: {given.format} ({given.why}).{against}"))
    console.print(Text(_size(report), "bold"))
    for severity in SEVERITIES:
        found = [finding for finding in report.findings if finding.severity == severity]
        if not found:
            continue
        console.print()
        console.print(Text(_heading(severity, len(found)), "bold"))
        mark, style = _MARKS[severity]
        counts: dict[str, int] = {}
        for finding in found:
            counts[finding.kind] = counts.get(finding.kind, 0) + 1
            if counts[finding.kind] > _MOST:
                continue
            kind = "" if finding.text.startswith(finding.kind) else f"{finding.kind}: "
            _indented(console, f"{mark} {kind}{finding}", 2, style if severity != "note" else "")
            for detail in finding.details:
                _indented(console, detail, 6, "")
            if finding.advice:
                _indented(console, f"→ {finding.advice}", 4, "cyan")
        for kind, count in counts.items():
            if count > _MOST:
                _indented(console, f"{mark} {kind}: {count - _MOST} more of this kind (--json lists all)", 2, style)
    if not report.has_problems:
        console.print()
        console.print(Text("No problems.", "green"))


def print_diff(lines: list[str], console: Console) -> None:
    """Prints the first lines of a diff."""
    console.print()
    for line in lines[:_DIFF_LINES]:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        console.print(Text(line, style), soft_wrap=True)
    if len(lines) > _DIFF_LINES:
        console.print(Text(f"… {len(lines) - _DIFF_LINES} more lines", "dim"))


def _size(report: Report) -> str:
    sizes = report.sizes
    if not sizes:
        return "no node that hangs from a root"
    names = report.levels or tuple(f"level {i + 1}" for i in range(len(sizes)))
    shown = [f"{size} {name}" for size, name in zip(sizes[:_SHAPES], names, strict=False)]
    more = f", … {len(sizes) - _SHAPES} more levels" if len(sizes) > _SHAPES else ""
    return f"{sum(sizes)} nodes, {report.num_leaves} leaves: {' · '.join(shown)}{more}"


def _heading(severity: Severity, count: int) -> str:
    return f"{count} {severity}" if count == 1 else f"{count} {severity}s"


def _indented(console: Console, text: str, by: int, style: str) -> None:
    """A paragraph whose further lines stand below its first word, or below the words after its mark."""
    hang = by + (2 if text[1:2] == " " else 0)
    lines = textwrap.wrap(
        text, console.width, initial_indent=" " * by, subsequent_indent=" " * hang, break_on_hyphens=False
    )
    console.print(Text("\n".join(lines), style))
