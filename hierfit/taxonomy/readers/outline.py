"""Indented text: blanks, tabs, bullets, headings, or lines drawn (``├── gull``) as anytree, rich, `tree` do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hierfit.taxonomy.readers.given import Claim, Links, Score, problem
from hierfit.taxonomy.readers.lines import is_code
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import lines_of

_CORNERS = frozenset("├└┣┗╠╚")
_LEAD = re.compile(r"[\s│┃║|]*[├└┣┗╠╚+`|\\][─━═\-_]+\s?|[\s│┃║]*")
_NODE = re.compile(r"""\w*Node\((['"])(?:.*/)?(.*?)\1.*\)""")
_BULLET = re.compile(r"(\s*)(?:[-*+•‣◦o]|\d+[.)])\s+(\S.*)")
_COUNTED = re.compile(r"\d+ director(?:y|ies)(?:, \d+ files?)?")  # the last line of `tree`
_HEADING = re.compile(r"(#{1,6})\s+(\S.*?)\s*#*")


class Line(NamedTuple):
    """A line: its number, its indent (what stands before the name) and the name."""

    number: int
    lead: str
    name: str


def claims(source: Source) -> Iterator[Claim]:
    """Whether lines are indented, or drawn."""
    lines = [Line(i, "", line) for i, line in enumerate(lines_of(source.text), 1) if line.strip()]
    lines = [line for line in lines if not _COUNTED.fullmatch(line.name)]
    if all(line.name.strip()[:1] == line.name.strip()[-1:] == "|" for line in lines):
        return  # a table in Markdown
    drawn = _is_drawn(lines)
    found = _drawn(lines) if drawn else _marked(lines) or _indented(lines)
    if drawn:
        why, score = "a drawn tree, by its ├── or |--", Score.CERTAIN
    elif any(line.lead for line in found) and not is_code([line.name for line in found]):
        why, score = "indented text", Score.LIKELY
    elif any(line.lead for line in found):
        why, score = "indented text; but its lines look like markup or code", Score.POSSIBLE
    else:
        return
    yield Claim("outline", score, why, "an indent that none above has", "indented text, a node in each line",
                lambda: _read(found, drawn))  # fmt: skip


def forced(source: Source) -> Claim:
    """The same where the user says so."""
    lines = [Line(i, "", line) for i, line in enumerate(lines_of(source.text), 1) if line.strip()]
    drawn = _is_drawn(lines)
    found = _drawn(lines) if drawn else _indented(lines)
    return Claim("outline", Score.CERTAIN, "as asked for", "", "", lambda: _read(found, drawn))


def _is_drawn(lines: Sequence[Line]) -> bool:
    """Whether lines hold what only a drawn tree does: ``├``, ``|--``, ``+--``."""
    for _, _, line in lines:
        rest = line.lstrip(" \t|")
        if rest[:3] in ("+--", "`--", "\\--") or (rest[:2] == "--" and line[: len(line) - len(rest)].endswith("|")):
            return True
        if not _CORNERS.isdisjoint(line):
            return True
    return False


def _drawn(lines: Sequence[Line]) -> list[Line]:
    found = []
    for number, _, text in lines:
        lead = _LEAD.match(text)[0]  # type: ignore[index]
        name = text[len(lead) :].rstrip()
        if name:
            node = _NODE.fullmatch(name)
            found.append(Line(number, lead, node[2] if node else name))
    return found


def _indented(lines: Sequence[Line]) -> list[Line]:
    return [Line(i, text[: len(text) - len(text.lstrip())], text.strip()) for i, _, text in lines]


def _marked(lines: Sequence[Line]) -> list[Line]:
    """Markdown's bullets and headings, where all lines have them; else nothing."""
    found: list[Line] = []
    depth = 0
    for number, _, text in lines:
        if heading := _HEADING.fullmatch(text.strip()):
            depth = len(heading[1])
            found.append(Line(number, " " * (depth - 1), heading[2]))
        elif bullet := _BULLET.fullmatch(text):
            found.append(Line(number, " " * depth + bullet[1], bullet[2].rstrip()))
        else:
            return []
    return found if len({line.lead for line in found}) > 1 else []


def _read(lines: Sequence[Line], drawn: bool) -> Links:
    """A node a line, below the nearest line above it that is indented less.

    anytree's ``Node('/root/sub', …)`` gives its last part. A line whose indent is none of those above it is a fault:
    nothing says whose child it is.
    """
    names: list[str] = []
    parents: list[int | None] = []
    findings = []
    branch: list[tuple[int, int]] = []  # indent and node, root to here
    for number, lead, name in lines:
        if drawn and lead and lead.isspace():
            text = f"{name!r} is indented by blanks alone, in a tree with lines drawn"
            findings.append(problem("indent", text, f"line {number}"))
        deepest = branch[-1][0] if branch else 0
        while branch and branch[-1][0] > len(lead):
            branch.pop()
        above = branch[-1][0] if branch else 0
        if len(lead) != above and (len(lead) < deepest or not branch):
            text = f"{name!r} is indented by {len(lead)}, unlike all lines above it"
            findings.append(problem("indent", text, f"line {number}"))
        if branch and branch[-1][0] == len(lead):
            branch.pop()
        parents.append(branch[-1][1] if branch else None)
        names.append(name)
        branch.append((len(lead), len(names) - 1))
    if not drawn and len({sign for line in lines for sign in line.lead}) > 1:
        findings.append(problem("indent", "some lines are indented by blanks, others by tabs"))
    return Links(names, parents, lambda node: f"line {lines[node].number}", findings=findings, by_name=False)
