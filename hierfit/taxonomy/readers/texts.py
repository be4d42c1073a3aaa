"""Trees written down as they stand: indented text, bullets and drawn lines; and Newick's brackets."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from hierfit.errors import UserError
from hierfit.taxonomy.checks import problem, remark
from hierfit.taxonomy.readers.given import Claim, Links, Score
from hierfit.taxonomy.readers.lines import is_code
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import lines_of

_SIGNS = ("├", "└", "┣", "┗", "╠", "╚", "+--", "`--", "\\--", "|--")
_INDENT = re.compile(r"[\r\n](?:[^\S\r\n]|[-*+•‣◦#] |\*\*|##)")
_DRAWN = re.compile(r".*[├└┣┗╠╚]|[ \t|]*(?:\+--|`--|\\--)|[ \t|]*\|--", re.DOTALL)
_LEAD = re.compile(r"[\s│┃║|]*[├└┣┗╠╚+`|\\][─━═\-_]+\s?|[\s│┃║]*")
_NODE = re.compile(r"""\w*Node\((['"])(?:.*/)?(.*?)\1.*\)""")
_BULLET = re.compile(r"(\s*)(?:[-*+•‣◦o]|\d+[.)])\s+(\S.*)")
_HEADING = re.compile(r"(#{1,6})\s+(\S.*?)\s*#*")
_STARS = re.compile(r"(\*+)\s+(\S.*)")  # Org mode's headings
# What the command `tree` writes beside the tree, here and on Windows.
_BESIDE = re.compile(r"\d+ director(?:y|ies)(?:, \d+ files?)?|Folder PATH listing.*|Volume serial number is.*")


class Line(NamedTuple):
    """A line: its number, its indent (what stands before the name) and the name."""

    number: int
    lead: str
    name: str


def outline_claims(source: Source, forced: bool = False) -> Iterator[Claim]:
    """Whether lines are indented, or drawn; where the user says so, they are."""
    if not (forced or any(sign in source.text for sign in _SIGNS) or _INDENT.search(source.text)):
        return
    texts = [(i, line) for i, line in enumerate(lines_of(source.text), 1) if line.strip()]
    drawn = any(_DRAWN.match(line) for _, line in texts)
    plain = [Line(i, text[: len(text) - len(text.lstrip())], text.strip()) for i, text in texts]
    marked = [] if drawn or forced else _marked(texts)
    lines = _drawn(texts) if drawn else marked or plain
    if forced:
        why, score = "as asked for", Score.CERTAIN
    elif all(line.name[:1] == line.name[-1:] == "|" for line in plain):
        return  # a table in Markdown
    elif drawn:
        why, score = "a drawn tree, by its ├── or |--", Score.CERTAIN
    elif not any(line.lead for line in lines):
        return
    elif not marked and sum("\t" in line.name for line in lines) * 2 > len(lines):
        return  # cells between tabs, the first ones empty
    elif not marked and is_code([line.name for line in lines]):
        bullets = any(_BULLET.fullmatch(text) or _HEADING.fullmatch(text) for _, text in texts)
        fault = (
            "some lines have bullets or headings and others none" if bullets else "its lines look like markup or code"
        )
        why, score = f"indented text; but {fault}", Score.POSSIBLE
    else:
        why, score = "indented text", Score.LIKELY
    yield Claim("outline", score, why, lambda: _read_outline(lines, drawn))


def _drawn(texts: Sequence[tuple[int, str]]) -> list[Line]:
    found = []
    for number, text in texts:
        lead = _LEAD.match(text)[0]  # type: ignore[index]
        name = text[len(lead) :].rstrip()
        if name and not _BESIDE.fullmatch(text.strip()):
            node = _NODE.fullmatch(name)
            found.append(Line(number, lead, node[2] if node else name))
    return found


def _marked(texts: Sequence[tuple[int, str]]) -> list[Line]:
    """Bullets and headings of Markdown or Org mode, where all lines have them; else nothing."""
    found: list[Line] = []
    depth = 0
    heading_of = _STARS if any(text.startswith("**") for _, text in texts) else _HEADING
    for number, text in texts:
        if heading := heading_of.fullmatch(text.strip()):
            depth = len(heading[1])
            found.append(Line(number, " " * (depth - 1), heading[2]))
        elif bullet := _BULLET.fullmatch(text):
            found.append(Line(number, " " * depth + bullet[1], bullet[2].rstrip()))
        else:
            return []
    return found if len({line.lead for line in found}) > 1 else []


def _read_outline(lines: Sequence[Line], drawn: bool) -> Links:
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


# Newick --------------------------------------------------------------------------------------------------------------

_TOKEN = re.compile(
    r"\s+|(?P<comment>\[[^\]]*\])|(?P<quoted>'(?:[^']|'')*')|(?P<sign>[(),:;])"
    r"|(?P<word>[^\s\[\]'(),:;]+(?:[^\S\n]+[^\s\[\]'(),:;]+)*)"
)
_SUPPORT = re.compile(r"\d*\.?\d+(?:e-?\d+)?(?:/\d*\.?\d+(?:e-?\d+)?)*", re.IGNORECASE)


def newick_claim(source: Source) -> Claim:
    """``(A:0.1,(B,'C d')genus)root;``, without lengths, support values and comments in brackets."""
    return Claim("newick", Score.CERTAIN, "Newick, as it opens with a bracket", lambda: _read_newick(source))


def _read_newick(source: Source) -> Links:
    """Nodes where they stand; a quote in a name is written twice. Underscores stay as they are.

    A root without a name that holds everything is left out; other nodes without one are called after the first leaf
    below them. Where all inner nodes that have a name have a number, unquoted, those are support values and no names.

    Raises:
        UserError: A bracket or quote is not closed, or something comes where it cannot, with line and column.
    """
    names, parents, places = [""], [-1], [0]
    open_nodes: list[int] = []
    numbers: set[int] = set()

    def place_of(place: int) -> str:
        line = source.text.count("\n", 0, place) + 1
        return f"line {line}, column {place - source.text.rfind(chr(10), 0, place)}"

    def fault(place: int, what: str) -> UserError:
        return UserError(f"{source.path}: {place_of(place)}: {what}", hint="This is not sound Newick.")

    def new(parent: int, place: int) -> int:
        names.append("")
        parents.append(parent)
        places.append(place)
        return len(names) - 1

    here, expecting, end = 0, "node", 0
    while end < len(source.text):
        token = _TOKEN.match(source.text, end)
        if token is None:
            raise fault(end, "a quotation mark or bracket that is not closed")
        start, end = end, token.end()
        sign, quoted = token["sign"], token["quoted"]
        word = quoted[1:-1].replace("''", "'") if quoted else token["word"]
        if sign is None and word is None:
            continue
        if expecting == "nothing":
            raise fault(start, "text behind the ';': one tree a file")
        if sign == "(":
            if expecting != "node":
                raise fault(start, "'(' where ',' or ')' should come")
            open_nodes.append(here)
            here = new(here, start)
        elif sign in (",", ")"):
            if not open_nodes:
                raise fault(start, f"{sign!r} outside of all brackets")
            here, expecting = (new(open_nodes[-1], start), "node") if sign == "," else (open_nodes.pop(), "name")
        elif sign == ":":
            expecting = "length"
        elif sign == ";":
            if open_nodes:
                raise fault(places[open_nodes[-1]], f"{len(open_nodes)} brackets are not closed")
            expecting = "nothing"
        elif expecting == "end":
            raise fault(start, f"{word!r} where ',' or ')' should come")
        else:
            if expecting != "length":
                names[here], places[here] = word, start
                if not quoted and _SUPPORT.fullmatch(word):
                    numbers.add(here)
            expecting = "end"
    if expecting != "nothing":
        raise fault(len(source.text), "the ';' that ends a tree is missing")

    inner = {*parents} - {-1}
    supports = [node for node in inner if names[node]]
    findings = []
    if supports and numbers.issuperset(supports):
        for node in supports:
            names[node] = ""
        findings.append(remark("support", f"{len(supports)} numbers behind brackets are support values and no names"))
    first_leaf = list(names)
    for node in reversed(range(1, len(names))):
        first_leaf[node] = names[node] or first_leaf[node]
        first_leaf[parents[node]] = first_leaf[node]  # of several children the first comes last, and stays
    made_up = []
    for node in [node for node, name in enumerate(names) if not name and (node or not inner)]:
        if node in inner:
            names[node] = f"above {first_leaf[node]}"
            made_up.append(names[node])
        else:
            names[node] = f"leaf {node}"
            findings.append(problem("name", "a leaf without a name", place_of(places[node])))
    if made_up:
        what = f"inner nodes without a name are called after the first leaf below them: {', '.join(made_up[:5])}"
        findings.append(remark("made-up", what + (", …" if len(made_up) > 5 else "")))
    links = Links(names, parents, lambda node: place_of(places[node]), findings=findings, by_name=False)
    return links if names[0] else links.only(range(1, len(names)))
