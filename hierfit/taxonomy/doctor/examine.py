"""Everything there is to say of a file, be it a tree or not, at once."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from hierfit.taxonomy import build
from hierfit.taxonomy.checks import SEVERITIES, Finding, Severity
from hierfit.taxonomy.doctor.mend import misplaced
from hierfit.taxonomy.doctor.names import CountTokens, id_findings, name_findings
from hierfit.taxonomy.doctor.shape import Shape, shape_findings
from hierfit.taxonomy.readers.columns import order_of_columns
from hierfit.taxonomy.readers.given import Given, Rows

Mend = Literal["safe", "asked", "no"]

_FIX = "--fix OUT mends it."
_REMEDIES: Mapping[str, tuple[str, Mend]] = {
    "cycle": ("Take one of these links out.", "no"),
    "several-parents": ("A tree has room for one: --first-parent keeps the first; or take the others out.", "no"),
    "repeated": (_FIX, "safe"),
    "blank": (_FIX, "safe"),
    "same-path": ("Their other cells differ: is a finer level missing? --columns picks columns; --accept same-path "
                  "keeps the first.", "asked"),
    "same-name": ("These are several nodes: give them names of their own, or put what is below them under one.", "no"),
    "leaf-and-inner": (_FIX, "safe"),
    "unknown-parent": ("List it as a node of its own; --fix OUT makes it a root.", "safe"),
    "misspelt-parent": ("Spell it as its own row does.", "no"),
    "gap": ("Fill the cell; or give the levels names in line 1, and a node stands in for it.", "no"),
}  # fmt: skip


@dataclass(frozen=True)
class Report:
    """The doctor's report.

    Attributes:
        given: The file.
        sizes: Nodes of each level; those on and below a cycle are not counted.
        levels: Their names, where the file has them.
        num_leaves: Leaves.
        findings: Problems first, then warnings, then notes.
    """

    given: Given
    sizes: tuple[int, ...]
    levels: tuple[str, ...]
    num_leaves: int
    findings: tuple[Finding, ...]

    @property
    def has_problems(self) -> bool:
        """Whether anything is wrong."""
        return any(finding.severity == "problem" for finding in self.findings)

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "file": self.given.source,
            "format": self.given.format,
            "why": self.given.why,
            "against": self.given.against,
            "levels": list(self.levels),
            "level_sizes": list(self.sizes),
            "leaves": self.num_leaves,
            "problems": sum(finding.severity == "problem" for finding in self.findings),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def examine(given: Given, count_tokens: CountTokens) -> Report:
    """Examine a file. O(nodes · levels) time.

    Args:
        given: What the file says.
        count_tokens: Tokens of each of some texts; called only when a name may be too long for a text tower.
    """
    form = given.form
    draft, problems = given.draft()
    names, parent, order = build.ordered(draft, problems)
    shape = Shape(tuple(map(str, names)), parent, lambda node: draft.where(int(order[node])))
    levels = tuple(map(str, form.levels or ()))
    if form.levels is not None:
        problems.check_levels(form.levels, len(shape.sizes) if not problems.faulty else None)
    if not names and not problems.faulty:
        problems.add("empty", "there is no node")
    found = [_with_remedy(finding) for finding in problems]
    found += [finding for finding in form.findings if finding.severity != "problem"]
    found += _levels_out_of_order(levels)
    moves = misplaced(form) if isinstance(form, Rows) else {}
    found += moves.values()
    found += id_findings(form)
    found += name_findings(shape, count_tokens, moves)
    found += shape_findings(shape)
    return Report(
        given,
        shape.sizes,
        levels if len(levels) == len(shape.sizes) else (),
        shape.num_leaves,
        tuple(sorted(found, key=lambda finding: SEVERITIES.index(finding.severity))),
    )


def _with_remedy(finding: Finding) -> Finding:
    advice, mend = _REMEDIES.get(finding.kind, ("", "no"))
    return replace(finding, advice=finding.advice or advice, mend=mend) if finding.severity == "problem" else finding


def _levels_out_of_order(levels: Sequence[str]) -> list[Finding]:
    """Level names whose usual order is another."""
    known = order_of_columns(levels)
    if all(a <= b for (_, a), (_, b) in pairwise(known)):
        return []
    shown = ", ".join(levels[column] for column, _ in known)
    text = f"the levels run {shown}: coarse to fine that is not the usual order"
    usually = ", ".join(levels[column] for column, _ in sorted(known, key=lambda place: place[1]))
    return [Finding("problem", "level-order", text, advice=f"Usual is {usually}: --columns picks the order.")]


# In the terminal ------------------------------------------------------------------------------------------------------

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
