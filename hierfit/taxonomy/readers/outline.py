"""Indented text: blanks, tabs, bullets, headings, or lines drawn (``├── gull``) as anytree, rich, `tree` do."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hierfit.taxonomy.checks import problem
from hierfit.taxonomy.readers.given import Claim, Links, Score
from hierfit.taxonomy.readers.lines import is_code
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import lines_of

_DRAWN = re.compile(r".*[├└┣┗╠╚]|[ \t|]*(?:\+--|`--|\\--)|[ \t|]*\|--", re.DOTALL)
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


def claims(source: Source, forced: bool = False) -> Iterator[Claim]:
    """Whether lines are indented, or drawn; where the user says so, they are."""
    texts = [(i, line) for i, line in enumerate(lines_of(source.text), 1) if line.strip()]
    texts = [(i, line) for i, line in texts if forced or not _COUNTED.fullmatch(line)]
    drawn = any(_DRAWN.match(line) for _, line in texts)
    lines = _drawn(texts) if drawn else (not forced and _marked(texts)) or [
        Line(i, text[: len(text) - len(text.lstrip())], text.strip()) for i, text in texts]  # fmt: skip
    if forced:
        why, score = "as asked for", Score.CERTAIN
    elif all(line.strip()[:1] == line.strip()[-1:] == "|" for _, line in texts):
        return  # a table in Markdown
    elif drawn:
        why, score = "a drawn tree, by its ├── or |--", Score.CERTAIN
    elif not any(line.lead for line in lines):
        return
    elif is_code([line.name for line in lines]):
        why, score = "indented text; but its lines look like markup or code", Score.POSSIBLE
    else:
        why, score = "indented text", Score.LIKELY
    yield Claim("outline", score, why, lambda: _read(lines, drawn))


def _drawn(texts: Sequence[tuple[int, str]]) -> list[Line]:
    found = []
    for number, text in texts:
        lead = _LEAD.match(text)[0]  # type: ignore[index]
        if name := text[len(lead) :].rstrip():
            node = _NODE.fullmatch(name)
            found.append(Line(number, lead, node[2] if node else name))
    return found


def _marked(texts: Sequence[tuple[int, str]]) -> list[Line]:
    """Markdown's bullets and headings, where all lines have them; else nothing."""
    found: list[Line] = []
    depth = 0
    for number, text in texts:
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
    parents: list[int | None] = []
    findings = []
    branch: list[tuple[int, int]] = []  # indent and node, root to here
    for node, (number, lead, name) in enumerate(lines):
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
        branch.append((len(lead), node))
    if not drawn and len({sign for line in lines for sign in line.lead}) > 1:
        findings.append(problem("indent", "some lines are indented by blanks, others by tabs"))
    names = [line.name for line in lines]
    return Links(names, parents, lambda node: f"line {lines[node].number}", findings=findings, by_name=False)
