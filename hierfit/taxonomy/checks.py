"""Findings: what is wrong with a tree, or odd about it, with its place in the author's file; and what a name may be."""

from __future__ import annotations

import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from hierfit.errors import UserError

Where = Callable[[int], str]
"""Says where the i-th row or node was given: "line 7", "rows[5]"."""

Severity = Literal["problem", "warning", "note"]
SEVERITIES: tuple[Severity, ...] = ("problem", "warning", "note")

EDGE_HEADER = ("name", "parent")
_UNWRITABLE = {"Cc", "Cs", "Zl", "Zp"}  # controls, lone surrogates, line and paragraph separators


@dataclass(frozen=True)
class Finding:
    """One thing to say of a tree.

    A ``problem``: no tree, or a fault by all that can be known; a ``warning``: works, but look at it; a ``note``: good
    to know. ``--fix`` mends what is ``safe``, so that no leaf comes or goes or changes its siblings, and a judgement
    once ``--accept KIND`` has ``asked`` for it.
    """

    severity: Severity
    kind: str
    text: str
    where: str = ""  # its place in the file
    details: tuple[str, ...] = ()  # rows, nodes and places, one a line
    advice: str = ""
    mend: Literal["safe", "asked", "no"] = "no"

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text

    def as_dict(self) -> dict[str, Any]:
        """For JSON; ``mended`` says whether ``--fix`` alone mends it."""
        return {**vars(self), "details": list(self.details), "text": str(self), "mended": self.mend == "safe"}


def problem(kind: str, text: str, where: str = "") -> Finding:
    """Something that keeps a file from being a tree."""
    return Finding("problem", kind, text, where)


def remark(kind: str, text: str, details: Iterable[str] = (), advice: str = "") -> Finding:
    """Something a reader has decided or added of its own."""
    return Finding("warning", kind, text, details=tuple(details), advice=advice)


class Problems(list[Finding]):
    """Everything found wrong so far, raised together; `where` says the place of the i-th row or node."""

    def __init__(self, source: str, where: Where, hint: str) -> None:
        super().__init__()
        self.source, self.where, self.hint = source, where, hint

    def add(self, kind: str, text: str, number: int | None = None) -> None:
        """Add a problem, of the i-th row or node if it is one's own."""
        self.append(problem(kind, text, "" if number is None else self.where(number)))

    def check_name(self, number: int, name: object) -> None:
        """Add what is wrong with the name of the i-th row or node."""
        if text := name_problem(name):
            self.add("blank" if isinstance(name, str) and visible(name) else "name", text, number)

    def check_levels(self, levels: Sequence[str], depth: int | None) -> None:
        """Add what is wrong with the level names of a tree `depth` levels deep (None: not known)."""
        if isinstance(levels, str):
            self.add("levels", f"level names must be a list of names, not the text {levels!r}")
            return
        found = [f"level {i + 1}: {problem}" for i, name in enumerate(levels) if (problem := name_problem(name))]
        found += [f"the level name {name!r} holds a separator: columns are divided by commas"
                  for name in levels if ";" in str(name)]  # fmt: skip
        found += [f"the level name {name!r} is given twice" for name, n in Counter(levels).items() if n > 1]
        if tuple(str(name).casefold() for name in levels) == EDGE_HEADER:
            found.append("the level names 'name', 'parent' are kept for the header of a table of parent links")
        if depth is not None and len(levels) > depth:
            unused = ", ".join(repr(name) for name in levels[depth:])
            found.append(f"no node lies in level {unused}: the deepest leaf is at level {depth} of {len(levels)}")
        if depth is not None and len(levels) < depth:
            found.append(f"the tree is {depth} levels deep, but {len(levels)} level names are given")
        for text in found:
            self.add("levels", text)

    @property
    def faulty(self) -> bool:
        """Whether anything keeps this from being a tree."""
        return any(finding.severity == "problem" for finding in self)

    def raise_if_any(self) -> None:
        """Raise one `UserError` that lists all problems, if there are any."""
        if faults := [str(finding) for finding in self if finding.severity == "problem"]:
            raise UserError(f"{self.source}: {counted(len(faults), 'problem')} in the tree", faults, self.hint)


def name_problem(name: object) -> str | None:
    """What is wrong with one name, or None. A "/" is allowed: real names hold it ("F/A-18")."""
    if not isinstance(name, str):
        return f"the name {name!r} is not text but {type(name).__name__}"
    if name and name.isprintable() and name == name.strip():
        return None
    if not name:
        return "the name is empty"
    if name != name.strip():
        return f"the name {name!r} begins or ends with a blank"
    if any(unicodedata.category(c) in _UNWRITABLE or c == "\ufeff" for c in name):
        return f"the name {name!r} holds a line break or another character that cannot be seen"
    return None


def visible(name: str) -> str:
    """The name without blanks at its ends and without characters that cannot be seen."""
    if name.isprintable() and name == name.strip():
        return name
    seen = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in name if c != "\ufeff")
    return "".join(c for c in seen if unicodedata.category(c) != "Cs").strip()


def listed(items: Iterable[str], most: int = 5) -> str:
    """``a, b, c and 4 more``; a cycle or a family can hold thousands."""
    every = list(items)
    return ", ".join(every[:most]) + (f" and {len(every) - most} more" if len(every) > most else "")


def counted(number: int, noun: str, plural: str = "") -> str:
    """``1 leaf name``, ``2 leaf names``."""
    return f"{number} {noun if number == 1 else plural or f'{noun}s'}"


def path_to(node: int, names: Sequence[str], parents: Sequence[int]) -> list[str]:
    """Names from the root to the node."""
    path = []
    while node >= 0:
        path.append(names[node])
        node = parents[node]
    return path[::-1]
