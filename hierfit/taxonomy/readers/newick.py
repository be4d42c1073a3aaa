"""Newick: ``(A:0.1,(B,'C d')genus)root;``. Lengths, support values and comments in brackets are left out."""

from __future__ import annotations

import re

from hierfit.errors import UserError
from hierfit.taxonomy.checks import problem, remark
from hierfit.taxonomy.readers.given import Claim, Links, Score
from hierfit.taxonomy.readers.source import Source

_TOKEN = re.compile(
    r"\s+|(?P<comment>\[[^\]]*\])|(?P<quoted>'(?:[^']|'')*')|(?P<sign>[(),:;])"
    r"|(?P<word>[^\s\[\]'(),:;]+(?:[^\S\n]+[^\s\[\]'(),:;]+)*)"
)
_SUPPORT = re.compile(r"\d*\.?\d+(?:e-?\d+)?(?:/\d*\.?\d+(?:e-?\d+)?)*", re.IGNORECASE)


def claim(source: Source) -> Claim:
    """A tree in brackets."""
    return Claim("newick", Score.CERTAIN, "Newick, as it opens with a bracket", lambda: _read(source))


def _read(source: Source) -> Links:
    """Nodes where they stand; a quote in a name is written twice. Underscores stay as they are.

    A root without a name that holds everything is left out; other nodes without one are called after the first leaf
    below them. Where all inner nodes that have a name have a number, unquoted, those are support values and no names.

    Raises:
        UserError: A bracket or quote is not closed, or something comes where it cannot, with line and column.
    """
    names: list[str] = []
    parents: list[int] = []
    places: list[int] = []
    open_nodes: list[int] = []
    numbers: set[int] = set()

    def new(parent: int, place: int) -> int:
        names.append("")
        parents.append(parent)
        places.append(place)
        return len(names) - 1

    here, expecting, end = new(-1, 0), "node", 0
    while end < len(source.text):
        token = _TOKEN.match(source.text, end)
        if token is None:
            raise _fault(source, end, "a quotation mark or bracket that is not closed")
        start, end = end, token.end()
        sign, quoted = token["sign"], token["quoted"]
        word = quoted[1:-1].replace("''", "'") if quoted else token["word"]
        if sign is None and word is None:
            continue
        if expecting == "nothing":
            raise _fault(source, start, "text behind the ';': one tree a file")
        if sign == "(":
            if expecting != "node":
                raise _fault(source, start, "'(' where ',' or ')' should come")
            open_nodes.append(here)
            here = new(here, start)
        elif sign in (",", ")"):
            if not open_nodes:
                raise _fault(source, start, f"{sign!r} outside of all brackets")
            here, expecting = (new(open_nodes[-1], start), "node") if sign == "," else (open_nodes.pop(), "name")
        elif sign == ":":
            expecting = "length"
        elif sign == ";":
            if open_nodes:
                raise _fault(source, places[open_nodes[-1]], f"{len(open_nodes)} brackets are not closed")
            expecting = "nothing"
        elif expecting == "end":
            raise _fault(source, start, f"{word!r} where ',' or ')' should come")
        else:
            if expecting != "length":
                names[here], places[here] = word, start
                if not quoted and _SUPPORT.fullmatch(word):
                    numbers.add(here)
            expecting = "end"
    if expecting != "nothing":
        raise _fault(source, len(source.text), "the ';' that ends a tree is missing")

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
    nameless = [node for node, name in enumerate(names) if not name and (node or not inner)]
    findings += [problem("name", "a leaf without a name", _where(source, places[node])) for node in nameless
                 if node not in inner]  # fmt: skip
    for node in nameless:
        names[node] = f"above {first_leaf[node]}" if node in inner else f"leaf {node}"
    if made_up := [names[node] for node in nameless if node in inner]:
        what = f"inner nodes without a name are called after the first leaf below them: {', '.join(made_up[:5])}"
        findings.append(remark("made-up", what + (", …" if len(made_up) > 5 else "")))
    links = Links(names, parents, lambda node: _where(source, places[node]), findings=findings, by_name=False)
    return links if names[0] else links.only(range(1, len(names)))


def _where(source: Source, place: int) -> str:
    line = source.text.count("\n", 0, place) + 1
    return f"line {line}, column {place - source.text.rfind(chr(10), 0, place)}"


def _fault(source: Source, place: int, what: str) -> UserError:
    return UserError(f"{source.path}: {_where(source, place)}: {what}", hint="This is not sound Newick.")
