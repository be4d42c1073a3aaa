"""What can be wrong with a tree, as findings with their place in the author's file."""

from __future__ import annotations

import unicodedata
from collections import Counter, defaultdict
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
_LISTED = 12  # names in one message; a cycle or a family can hold thousands


@dataclass(frozen=True)
class Finding:
    """One thing to say of a tree.

    Attributes:
        severity: ``problem``: no tree, or a fault by all that can be known. ``warning``: works, but look at it.
            ``note``: good to know.
        kind: Short name, the same for all findings of a kind.
        text: One line.
        where: Its place in the file, where it has one.
        details: Rows, nodes and places, one a line.
        advice: What to do about it.
        mend: ``safe``: ``--fix`` mends it, and no leaf comes or goes or changes its siblings. ``asked``: a
            judgement, made once ``--accept KIND`` says so. ``no``: left to the author.
    """

    severity: Severity
    kind: str
    text: str
    where: str = ""
    details: tuple[str, ...] = ()
    advice: str = ""
    mend: Literal["safe", "asked", "no"] = "no"

    def __str__(self) -> str:
        return f"{self.where}: {self.text}" if self.where else self.text

    def as_dict(self) -> dict[str, Any]:
        """For JSON; ``mended`` says whether ``--fix`` alone mends it."""
        return {**vars(self), "details": list(self.details), "text": str(self), "mended": self.mend == "safe"}


class Problems(list[Finding]):
    """Everything found wrong so far, raised together.

    Args:
        source: What the tree is read from, for the first line of the message.
        where: Place of the i-th row or node.
        hint: How the tree should be given.
        levels_at: Place of the level names.
    """

    def __init__(self, source: str, where: Where, hint: str, levels_at: str = "") -> None:
        super().__init__()
        self.source = source
        self.where = where
        self.hint = hint
        self.levels_at = levels_at

    def add(self, kind: str, text: str, where: str = "") -> None:
        """Add a problem."""
        self.append(Finding("problem", kind, text, where))

    def at(self, number: int, kind: str, text: str) -> None:
        """Add a problem of the i-th row or node."""
        self.add(kind, text, self.where(number))

    def check_name(self, number: int, name: object) -> None:
        """Add what is wrong with the name of the i-th row or node."""
        if text := name_problem(name):
            self.at(number, "blank" if isinstance(name, str) and visible(name) else "name", text)

    def check_levels(self, levels: Sequence[str], depth: int | None) -> None:
        """Add what is wrong with the level names."""
        for text in level_problems(levels, depth):
            self.add("levels", text, self.levels_at)

    @property
    def faulty(self) -> bool:
        """Whether anything keeps this from being a tree."""
        return any(finding.severity == "problem" for finding in self)

    def raise_if_any(self) -> None:
        """Raise one `UserError` that lists all problems, if there are any."""
        if faults := [str(finding) for finding in self if finding.severity == "problem"]:
            count = "1 problem" if len(faults) == 1 else f"{len(faults)} problems"
            raise UserError(f"{self.source}: {count} in the tree", faults, self.hint)


def name_problem(name: object) -> str | None:
    """What is wrong with one name, or None. A "/" is allowed: real names hold it ("F/A-18")."""
    if not isinstance(name, str):
        return f"the name {name!r} is not text but {type(name).__name__}"
    if not name:
        return "the name is empty"
    if name != name.strip():
        return f"the name {name!r} begins or ends with a blank"
    if not name.isprintable() and any(unicodedata.category(c) in _UNWRITABLE or c == "\ufeff" for c in name):
        return f"the name {name!r} holds a line break or another character that cannot be seen"
    return None


def visible(name: str) -> str:
    """The name without blanks at its ends and without characters that cannot be seen."""
    if name.isprintable() and name == name.strip():
        return name
    seen = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in name if c != "\ufeff")
    return "".join(c for c in seen if unicodedata.category(c) != "Cs").strip()


def level_problems(levels: Sequence[str], depth: int | None) -> list[str]:
    """What is wrong with the level names of a tree `depth` levels deep (None: not known)."""
    if isinstance(levels, str):
        return [f"level names must be a list of names, not the text {levels!r}"]
    found = [f"level {i + 1}: {problem}" for i, name in enumerate(levels) if (problem := name_problem(name))]
    found += [
        f"the level name {name!r} holds a separator: columns are divided by commas"
        for name in levels
        if ";" in str(name)
    ]
    found += [f"the level name {name!r} is given twice" for name, n in Counter(levels).items() if n > 1]
    if tuple(str(name).casefold() for name in levels) == EDGE_HEADER:
        found.append("the level names 'name', 'parent' are kept for the header of a table of parent links")
    if depth is not None and len(levels) > depth:
        unused = ", ".join(repr(name) for name in levels[depth:])
        found.append(f"no node lies in level {unused}: the deepest leaf is at level {depth} of {len(levels)}")
    if depth is not None and len(levels) < depth:
        found.append(f"the tree is {depth} levels deep, but {len(levels)} level names are given")
    return found


def check_row(row: Sequence[str], number: int, problems: Problems) -> None:
    """Adds what is wrong with a leaf row that is empty (cells at its end cut off), has a gap, or is a text."""
    if isinstance(row, str):
        problems.at(number, "row", f"a row must be a list of names, not the text {row!r}")
    elif not row:
        problems.at(number, "row", "the row holds no name")
    else:
        gap = f"gap before {row[list(row).index('') + 1]!r}: only cells at the end of a row may be empty"
        problems.at(number, "gap", gap)


def check_leaves(
    ends: Sequence[int],
    names: Sequence[str],
    parents: Sequence[int],
    first_row: Sequence[int],
    problems: Problems,
    whole: Sequence[Sequence[object]] | None = None,
    inner_rows: bool = False,
) -> None:
    """Adds rows that repeat another row, and rows that end at a node which other rows pass through.

    Args:
        ends: Node in which each row ends, −1 for a row already rejected.
        names: Name of each node.
        parents: Parent of each node, −1 for roots.
        first_row: The row that brought each node first.
        problems: Knows the place of a row.
        whole: All cells of each row: rows of one path that differ in others are not the same.
        inner_rows: Whether a row may end at an inner node, and stands for it.
    """
    where = problems.where
    rows_of = defaultdict(list)
    for row, node in enumerate(ends):
        if node >= 0:
            rows_of[node].append(row)
    child_row: dict[int, int] = {}
    for node, parent in enumerate(parents):
        child_row.setdefault(parent, first_row[node])
    inner: list[str] = []
    for node, rows in rows_of.items():
        if node in child_row and inner_rows:
            inner.append(f"{names[node]!r} ({where(rows[0])})")
            continue
        if len(rows) == 1 and node not in child_row:
            continue
        path = " / ".join(map(str, path_to(node, names, parents)))
        if len(rows) > 1:
            kind = "repeated" if whole is None or len({tuple(whole[row]) for row in rows}) == 1 else "same-path"
            problems.add(kind, f"{path}: the same leaf is given {len(rows)} times: {_some(map(where, rows))}")
        if node in child_row:
            place, below = where(rows[0]), where(child_row[node])
            problems.add("leaf-and-inner", f"{path}: a leaf in {place}, but it has children ({below})")
    if inner:
        total = len(child_row.keys() - {-1})
        what = f"{len(inner)} of {total} inner nodes have a row of their own, which is no leaf"
        severity: Severity = "note" if len(inner) * 2 >= total else "warning"
        problems.append(Finding(severity, "inner-rows", what, details=(_some(inner[:4]),)))


def check_siblings(names: Sequence[str], parents: Sequence[int], problems: Problems) -> None:
    """Adds nodes that share both name and parent: the same leaf again, or several inner nodes of one name."""
    nodes_of = defaultdict(list)
    for node, key in enumerate(zip(parents, names, strict=True)):
        nodes_of[key].append(node)
    inner = set(parents)
    for (parent, name), nodes in nodes_of.items():
        if len(nodes) > 1:
            what = "roots" if parent < 0 else f"children of {names[parent]!r}"
            kind = "repeated" if inner.isdisjoint(nodes) else "same-name"
            problems.add(kind, f"{len(nodes)} {what} are named {name!r}: " + _some(map(problems.where, nodes)))


def check_cycles(names: Sequence[str], parents: Sequence[int], where: Where, problems: Problems) -> None:
    """Adds every cycle of the parent links, with the nodes along it. O(N)."""
    walk_of = [-1] * len(parents)
    for start in range(len(parents)):
        node, walk = start, []
        while node >= 0 and walk_of[node] < 0:
            walk_of[node] = start
            walk.append(node)
            node = parents[node]
        if node >= 0 and walk_of[node] == start:
            cycle = walk[walk.index(node) :]
            links = [f"{names[v]!r} ({where(v)})" for v in cycle[:_LISTED]]
            if len(cycle) > _LISTED:
                links.append(f"… {len(cycle) - _LISTED} more")
            problems.add("cycle", f"cycle, each the child of the next: {' → '.join(links)} → {names[node]!r}")


def check_repeated_links(names: Sequence[str], parents: Sequence[str | None], problems: Problems) -> None:
    """Adds nodes listed more than once in links by name: with several parents, or with the same one."""
    where = problems.where
    links_of = defaultdict(list)
    for link, name in enumerate(names):
        links_of[name].append(link)
    repeated = {name: links for name, links in links_of.items() if len(links) > 1}
    children = defaultdict(list)
    for name, parent in zip(names, parents, strict=True):
        if parent in repeated:
            children[parent].append(name)
    for name, links in repeated.items():
        listed = _some(f"{parents[v]!r} ({where(v)})" if parents[v] else f"none ({where(v)})" for v in links)
        if len({parents[v] or None for v in links}) == 1:
            problems.add("repeated", f"{name!r} is listed {len(links)} times, with the parent {listed}")
        else:
            below = f"; its children: {_some(map(repr, children[name]))}" if children[name] else ""
            problems.add("several-parents", f"{name!r} has several parents: {listed}{below}")


def path_to(node: int, names: Sequence[str], parents: Sequence[int]) -> list[str]:
    """Names from the root to the node."""
    path = []
    while node >= 0:
        path.append(names[node])
        node = parents[node]
    return path[::-1]


def _some(items: Iterable[str]) -> str:
    listed = list(items)
    more = [f"… {len(listed) - _LISTED} more"] if len(listed) > _LISTED else []
    return ", ".join(listed[:_LISTED] + more)
