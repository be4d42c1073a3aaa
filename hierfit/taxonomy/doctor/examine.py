"""Everything there is to say of a file, be it a tree or not, at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal

from hierfit.taxonomy import build
from hierfit.taxonomy.checks import SEVERITIES, Finding
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
