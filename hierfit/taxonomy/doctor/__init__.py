"""The doctor: what is wrong with a tree, what is odd about it, and what can be mended, all at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from rich.console import Console
from rich.text import Text

from hierfit.streams import print_hanging
from hierfit.taxonomy import build
from hierfit.taxonomy.checks import SEVERITIES, Finding, Severity, counted
from hierfit.taxonomy.doctor.mend import JUDGEMENTS, diff, mended, misplaced
from hierfit.taxonomy.doctor.oddities import CountTokens, TreeShape, odd_names, odd_shape, twin_labels
from hierfit.taxonomy.index import tree_index
from hierfit.taxonomy.readers.columns import order_of_columns
from hierfit.taxonomy.readers.given import FORMATS, Given, Rows

__all__ = ["JUDGEMENTS", "Report", "diff", "examine", "mended", "print_diff", "print_report"]

_FIX = "--fix OUT mends it."
_REMEDIES: Mapping[str, tuple[str, Literal["safe", "asked", "no"]]] = {
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
    """The doctor's report on a file: nodes of each level (those on and below a cycle are not counted), the levels'
    names where it has them, and findings: problems first, then warnings, then notes."""

    given: Given
    sizes: tuple[int, ...]
    levels: tuple[str, ...]
    num_leaves: int
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> list[Finding]:
        """Those of the findings."""
        return [finding for finding in self.findings if finding.severity == "problem"]

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {
            "file": self.given.source,
            "format": self.given.format,
            "why": self.given.why,
            "against": FORMATS[self.given.format][1],
            "levels": list(self.levels),
            "level_sizes": list(self.sizes),
            "leaves": self.num_leaves,
            "problems": len(self.problems),
            "findings": [finding.as_dict() for finding in self.findings],
        }


def examine(given: Given, count_tokens: CountTokens) -> Report:
    """Examine what a file says. O(nodes · levels) time.

    `count_tokens` counts the tokens of some texts; it is called only when a name may be too long for a text tower.
    """
    form = given.form
    draft, problems = given.draft()
    names, parent, order = build.ordered(draft, problems)
    bounds, index = tree_index(parent) if names else ([0], {})
    sizes = tuple(stop - start for start, stop in pairwise(bounds))
    shape = TreeShape(tuple(map(str, names)), parent, lambda node: draft.where(int(order[node])), sizes, index)
    levels = tuple(map(str, form.levels or ()))
    if form.levels is not None:
        problems.check_levels(form.levels, None if problems.faulty else len(sizes))
    if not names and not problems.faulty:
        problems.add("empty", "there is no node")
    moves = misplaced(form) if isinstance(form, Rows) else {}
    twins = () if isinstance(form, Rows) or not form.labels else twin_labels(
        form.names, form.parents, [form.labels.get(name, name) for name in form.names])  # fmt: skip
    known = order_of_columns(levels)
    if any(a > b for (_, a), (_, b) in pairwise(known)):
        shown, usual = (", ".join(levels[column] for column, _ in order)
                        for order in (known, sorted(known, key=lambda place: place[1])))  # fmt: skip
        text = f"the levels run {shown}: coarse to fine that is not the usual order"
        advice = f"Usual is {usual}: --columns picks the order."
        problems.append(Finding("problem", "level-order", text, advice=advice))
    for number, finding in enumerate(problems):
        if finding.severity == "problem" and not finding.advice:
            remedy, mend = _REMEDIES.get(finding.kind, ("", "no"))
            problems[number] = replace(finding, advice=remedy, mend=mend)
    decided = [finding for finding in form.findings if finding.severity != "problem"]
    odd = [*odd_names(shape, count_tokens, moves), *odd_shape(shape)] if names else []
    found = [*problems, *decided, *moves.values(), *twins, *odd]
    found.sort(key=lambda finding: SEVERITIES.index(finding.severity))
    levels = levels if len(levels) == len(sizes) else ()
    return Report(given, sizes, levels, len(index.get("leaves", ())), tuple(found))


# In the terminal ------------------------------------------------------------------------------------------------------

_SIGN_OF: dict[Severity, tuple[str, str]] = {"problem": ("✗", "red"), "warning": ("!", "yellow"), "note": ("·", "")}
_MOST_OF_A_KIND = 12  # of a kind; a file that is no tree at all can have thousands
_SHAPES = 6  # levels whose sizes are listed
_DIFF_LINES = 40


def print_report(report: Report, console: Console) -> None:
    """Prints the file, its size, and what was found, gravest first."""
    given = report.given
    against = FORMATS[given.format][1]
    console.print(Text(f"{given.source}: {given.format} ({given.why}). Against it would speak {against}."))
    names = report.levels or tuple(f"level {i + 1}" for i in range(len(report.sizes)))
    shown = " · ".join(f"{n} {name}" for n, name in zip(report.sizes[:_SHAPES], names, strict=False))
    more = f", … {len(names) - _SHAPES} more levels" if len(names) > _SHAPES else ""
    size = f"{sum(report.sizes)} nodes, {report.num_leaves} leaves: {shown}{more}"
    console.print(Text(size if report.sizes else "no node that hangs from a root", "bold"))
    for severity in SEVERITIES:
        found = [finding for finding in report.findings if finding.severity == severity]
        if found:
            console.print(Text(f"\n{counted(len(found), severity)}", "bold"))
        mark, style = _SIGN_OF[severity]
        counts: Counter[str] = Counter()
        for finding in found:
            counts[finding.kind] += 1
            if counts[finding.kind] > _MOST_OF_A_KIND:
                continue
            kind = "" if finding.text.startswith(finding.kind) else f"{finding.kind}: "
            print_hanging(console, f"{kind}{finding}", style, 2, f"{mark} ")
            for detail in finding.details:
                print_hanging(console, detail, "", 6)
            if finding.advice:
                print_hanging(console, finding.advice, "cyan", 4, "→ ")
        for kind, count in counts.items():
            if count > _MOST_OF_A_KIND:
                print_hanging(
                    console,
                    f"{kind}: {count - _MOST_OF_A_KIND} more of this kind (--json lists all)",
                    style,
                    2,
                    f"{mark} ",
                )
    if not report.problems:
        console.print(Text("\nNo problems.", "green"))


def print_diff(lines: list[str], console: Console) -> None:
    """Prints the first lines of a diff."""
    console.print()
    for line in lines[:_DIFF_LINES]:
        style = {"+": "green", "-": "red", "@": "cyan"}.get(line[:1], "")
        console.print(Text(line, style), soft_wrap=True)
    if len(lines) > _DIFF_LINES:
        console.print(Text(f"… {len(lines) - _DIFF_LINES} more lines", "dim"))
