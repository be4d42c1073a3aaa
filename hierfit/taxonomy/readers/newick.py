"""Newick: ``(A:0.1,(B,'C d')genus)root;``. Lengths, support values and comments in brackets are left out."""

from __future__ import annotations

import re

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding
from hierfit.taxonomy.readers.given import Claim, Links, Score, problem, remark
from hierfit.taxonomy.readers.source import Source

_TOKEN = re.compile(
    r"\s+|(?P<comment>\[[^\]]*\])|(?P<quoted>'(?:[^']|'')*')|(?P<sign>[(),:;])|(?P<word>[^\s\[\]'(),:;]+(?:[^\S\n]+[^\s\[\]'(),:;]+)*)"
)


_SUPPORT = re.compile(r"\d*\.?\d+(?:e-?\d+)?(?:/\d*\.?\d+(?:e-?\d+)?)*", re.IGNORECASE)


def claim(source: Source) -> Claim:
    """A tree in brackets."""
    return Claim("newick", Score.CERTAIN, "Newick, as it opens with a bracket", "text behind the ';'",
                 "a tree in brackets", lambda: read_newick(source))  # fmt: skip


def read_newick(source: Source) -> Links:
    """Nodes where they stand; a quote in a name is written twice. Underscores stay as they are.

    A root without a name that holds everything is left out; other nodes without one are called after the first leaf
    below them. Where all inner nodes that have a name have a number, unquoted, those are support values and no names.

    Raises:
        UserError: A bracket or quote is not closed, or something comes where it cannot, with line and column.
    """
    names: list[str] = []
    parents: list[int | None] = []
    places: list[int] = []
    open_nodes: list[int] = []
    numbers: set[int] = set()
    here = _new(None, 0, names, parents, places)
    expecting = "node"
    done = False
    end = 0
    while end < len(source.text):
        token = _TOKEN.match(source.text, end)
        if token is None:
            raise _fault(source, end, "a quotation mark or bracket that is not closed")
        start, end = end, token.end()
        sign, word = token["sign"], token["word"]
        if token["quoted"]:
            word = token["quoted"][1:-1].replace("''", "'")
        if sign is None and word is None:
            continue
        if done:
            raise _fault(source, start, "text behind the ';': one tree a file")
        if sign == "(":
            if expecting != "node":
                raise _fault(source, start, "'(' where ',' or ')' should come")
            open_nodes.append(here)
            here = _new(here, start, names, parents, places)
        elif sign in (",", ")"):
            if not open_nodes:
                raise _fault(source, start, f"{sign!r} outside of all brackets")
            if sign == ",":
                here, expecting = _new(open_nodes[-1], start, names, parents, places), "node"
            else:
                here, expecting = open_nodes.pop(), "name"
        elif sign == ":":
            expecting = "length"
        elif sign == ";":
            if open_nodes:
                raise _fault(source, places[open_nodes[-1]], f"{len(open_nodes)} brackets are not closed")
            done = True
        elif expecting == "length":
            expecting = "end"
        elif expecting in ("node", "name"):
            names[here], places[here], expecting = word, start, "end"
            if not token["quoted"] and _SUPPORT.fullmatch(word):
                numbers.add(here)
        else:
            raise _fault(source, start, f"{word!r} where ',' or ')' should come")
    if not done:
        raise _fault(source, len(source.text), "the ';' that ends a tree is missing")
    inner = {parent for parent in parents if parent is not None}
    supports = [node for node in inner if names[node]]
    if supports and numbers.issuperset(supports):
        for node in supports:
            names[node] = ""
        findings = [remark("support", f"{len(supports)} numbers behind brackets are support values and no names")]
    else:
        findings = []
    return _named(source, names, parents, places, inner, findings)


def _new(parent: int | None, place: int, names: list[str], parents: list[int | None], places: list[int]) -> int:
    names.append("")
    parents.append(parent)
    places.append(place)
    return len(names) - 1


def _named(
    source: Source, names: list[str], parents: list[int | None], places: list[int], inner: set[int],
    findings: list[Finding],
) -> Links:  # fmt: skip
    """Leaves need names; inner nodes without one get one."""
    first_leaf: dict[int, str] = {}
    for node in reversed(range(len(names))):
        first_leaf[node] = names[node] or first_leaf.get(node, "")
        if (parent := parents[node]) is not None:
            first_leaf[parent] = first_leaf[node]
    drop = 0 if names[0] == "" and 0 in inner else None
    kept = [node for node in range(len(names)) if node != drop]
    shift = 0 if drop is None else 1
    nameless = [node for node in kept if not names[node]]
    findings += [
        problem("name", "a leaf without a name", _where(source, places[node])) for node in nameless if node not in inner
    ]
    named = [names[node] or (f"above {first_leaf[node]}" if node in inner else f"leaf {node}") for node in kept]
    links = [None if (p := parents[node]) is None or p == drop else p - shift for node in kept]
    made_up = [f"above {first_leaf[node]}" for node in nameless if node in inner]
    if made_up:
        what = f"inner nodes without a name are called after the first leaf below them: {', '.join(made_up[:5])}"
        findings.append(remark("made-up", what + (", …" if len(made_up) > 5 else "")))
    return Links(named, links, lambda node: _where(source, places[kept[node]]), findings=findings, by_name=False)


def _where(source: Source, place: int) -> str:
    line = source.text.count("\n", 0, place) + 1
    column = place - (source.text.rfind("\n", 0, place) + 1) + 1
    return f"line {line}, column {column}"


def _fault(source: Source, place: int, what: str) -> UserError:
    return UserError(f"{source.path}: {_where(source, place)}: {what}", hint="This is not sound Newick.")
