"""Indented text: blanks, tabs, or drawn lines (``├── gull``) as anytree, rich and `tree` print them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from hierfit.taxonomy.readers.given import Links
from hierfit.taxonomy.readers.options import Reading
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import lines_of

_CORNERS = frozenset("├└┣┗╠╚")
_LEAD = re.compile(r"[\s│┃║|]*[├└┣┗╠╚+`|\\][─━═\-_]+\s?|[\s│┃║]*")
_NODE = re.compile(r"""\w*Node\((['"])(?:.*/)?(.*?)\1.*\)""")


def is_drawn(lines: Iterable[str]) -> bool:
    """Whether lines hold what only a drawn tree does: ``├``, ``|--``, ``+--``."""
    for line in lines:
        rest = line.lstrip(" \t|")
        if rest[:3] in ("+--", "`--", "\\--") or (rest[:2] == "--" and line[: len(line) - len(rest)].endswith("|")):
            return True
        if not _CORNERS.isdisjoint(line):
            return True
    return False


def read_outline(source: Source, options: Reading) -> Links:
    """A node a line, below the nearest line above it that is indented less. Blank lines are left out.

    anytree's ``Node('/root/sub', …)`` gives its last part. A line whose indent is none of those above it is a fault:
    nothing says whose child it is.
    """
    drawn = is_drawn(lines_of(source.text))
    names: list[str] = []
    parents: list[int | None] = []
    lines: list[int] = []
    faults: list[str] = []
    branch: list[tuple[int, int]] = []  # indent and node, root to here
    signs: set[str] = set()
    for number, text in enumerate(lines_of(source.text), 1):
        lead = _LEAD.match(text)[0] if drawn else text[: len(text) - len(text.lstrip())]  # type: ignore[index]
        name = text[len(lead) :].rstrip()
        if not name:
            continue
        if not drawn:
            signs |= set(lead)
        else:
            if lead and lead.isspace():
                faults.append(f"line {number}: {name!r} is indented by blanks alone, in a tree with lines drawn")
            if node := _NODE.fullmatch(name):
                name = node[2]
        deepest = branch[-1][0] if branch else 0
        while branch and branch[-1][0] > len(lead):
            branch.pop()
        above = branch[-1][0] if branch else 0
        if len(lead) != above and (len(lead) < deepest or not branch):
            faults.append(f"line {number}: {name!r} is indented by {len(lead)}, unlike all lines above it")
        if branch and branch[-1][0] == len(lead):
            branch.pop()
        parents.append(branch[-1][1] if branch else None)
        names.append(name)
        lines.append(number)
        branch.append((len(lead), len(names) - 1))
    if len(signs) > 1:
        faults.append("some lines are indented by blanks, others by tabs")
    return Links(names, parents, lambda node: f"line {lines[node]}", faults=faults)
