"""Formats with a grammar of their own: Newick, Graphviz, OBO and XML."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any
from xml.parsers import expat

from hierfit.errors import UserError
from hierfit.taxonomy.checks import problem, remark
from hierfit.taxonomy.readers.given import Guess, Links, Reading
from hierfit.taxonomy.readers.links import links_of_columns, of_edges
from hierfit.taxonomy.readers.nested import NAME_KEYS
from hierfit.taxonomy.readers.source import Content
from hierfit.taxonomy.readers.table import CellTable, lines_of


def _tokens(file: Content, pattern: re.Pattern[str]) -> Iterator[tuple[str, str, int]]:
    """The groups of a pattern one by one: name, text and place; what it matches without a group is skipped."""
    end = 0
    while end < len(file.text):
        match = pattern.match(file.text, end)
        if match is None:
            sign = file.text[end]
            what = "a quotation mark or bracket that is not closed" if sign in "'\"[" else f"{sign!r} cannot stand here"
            raise _fault(file, end, what)
        if match.lastgroup:
            yield match.lastgroup, match[match.lastgroup], end
        end = match.end()


def _place(file: Content, at: int) -> str:
    return f"line {file.text.count(chr(10), 0, at) + 1}, column {at - file.text.rfind(chr(10), 0, at)}"


def _fault(file: Content, at: int, what: str, hint: str = "") -> UserError:
    return UserError(f"{file.path}: {_place(file, at)}: {what}", hint=hint)


# Newick --------------------------------------------------------------------------------------------------------------

_NEWICK = re.compile(
    r"\s+|\[[^\]]*\]|'(?P<quoted>(?:[^']|'')*)'|(?P<sign>[(),:;])"
    r"|(?P<word>[^\s\[\]'(),:;]+(?:[^\S\n]+[^\s\[\]'(),:;]+)*)"
)
_SUPPORT = re.compile(r"\d*\.?\d+(?:e-?\d+)?(?:/\d*\.?\d+(?:e-?\d+)?)*", re.IGNORECASE)


def read_newick(file: Content) -> Links:
    """``(A:0.1,(B,'C d')genus)root;``, without lengths, support values and comments in brackets.

    A quote in a name is written twice; underscores stay as they are. A root without a name that holds everything is
    left out; other nodes without one are called after the first leaf below them. Where all inner nodes that have a name
    have a number, unquoted, those are support values and no names.

    Raises:
        UserError: A bracket or quote is not closed, or something comes where it cannot, with line and column.
    """
    names, parents, places = [""], [-1], [0]
    open_nodes: list[int] = []
    numbers: set[int] = set()
    here, expected = 0, "node"
    for kind, text, at in _tokens(file, _NEWICK):
        sign = text if kind == "sign" else ""
        out_of_place = {"": expected == "end", "(": expected != "node", ",": not open_nodes, ")": not open_nodes}
        if expected == "nothing" or out_of_place.get(sign):
            raise _fault(file, at, f"{text!r} cannot stand here: one tree a file, names behind their brackets")
        if sign in ("(", ","):
            if sign == "(":
                open_nodes.append(here)
            names.append("")
            parents.append(open_nodes[-1])
            places.append(at)
            here, expected = len(names) - 1, "node"
        elif sign == ")":
            here, expected = open_nodes.pop(), "name"
        elif sign == ";":
            if open_nodes:
                raise _fault(file, places[open_nodes[-1]], f"{len(open_nodes)} brackets are not closed")
            expected = "nothing"
        elif sign == ":":
            expected = "length"
        else:
            if expected != "length":
                names[here], places[here] = text.replace("''", "'") if kind == "quoted" else text, at
                if kind == "word" and _SUPPORT.fullmatch(text):
                    numbers.add(here)
            expected = "end"
    if expected != "nothing":
        raise _fault(file, len(file.text), "the ';' that ends a tree is missing")

    inner = {*parents} - {-1}
    findings = []
    supports = [node for node in inner if names[node]]
    if supports and numbers.issuperset(supports):
        for node in supports:
            names[node] = ""
        findings.append(remark("support", f"{len(supports)} numbers behind brackets are support values and no names"))
    first_leaf = list(names)
    for node in reversed(range(1, len(names))):
        first_leaf[node] = names[node] or first_leaf[node]
        first_leaf[parents[node]] = first_leaf[node]  # of several children the first comes last, and stays
    made_up = [node for node, name in enumerate(names) if not name and (node or not inner)]
    for node in made_up:
        names[node] = f"above {first_leaf[node]}" if node in inner else f"leaf {node}"
        if node not in inner:
            findings.append(problem("name", "a leaf without a name", _place(file, places[node])))
    if called := [names[node] for node in made_up if node in inner]:
        shown = ", ".join(called[:5]) + (", …" if len(called) > 5 else "")
        what = f"inner nodes without a name are called after the first leaf below them: {shown}"
        findings.append(remark("made-up", what))
    links = Links(names, parents, lambda node: _place(file, places[node]), findings=findings, by_name=False)
    return links if names[0] else links.only(range(1, len(names)))


# Graphviz ------------------------------------------------------------------------------------------------------------

_STRING = r'"(?:[^"\\]|\\.)*"'
_HTML = r"<(?:[^<>]|<[^<>]*>)*>"
_DOT_TOKEN = re.compile(
    rf"""
      \s+ | //[^\n]* | ^\#[^\n]* | /\*(?:.*?\*/|.*)
    | (?:(?:strict\s+)?(?:di)?|sub)graph\b\s*(?:\w+|{_STRING})?\s*(?=\{{)
    | (?:node|edge|graph)\s*\[(?:{_STRING}|[^\]"])*\]
    | :\s*(?:\w+|{_STRING})                                        # a port
    | (?:\w+|{_STRING})\s*=\s*(?:{_STRING}|[^\s;{{}}]+)            # an attribute of the graph
    | \[(?P<attributes>(?:{_STRING}|{_HTML}|[^\]"<])*)\]
    | (?P<name>{_STRING}|{_HTML}|[^\s"{{}}\[\];,=:<>-]+(?:-(?![->])[^\s"{{}}\[\];,=:<>-]*)*)
    | (?P<sign>->|--|[{{}};,])
    """,
    re.DOTALL | re.MULTILINE | re.IGNORECASE | re.VERBOSE,
)
_DOT_LABEL = re.compile(rf"\blabel\s*=\s*({_STRING}|{_HTML}|[^\s,;]+)", re.IGNORECASE)


def _unquoted(text: str) -> str:
    if text[0] == "<":
        return re.sub(r"<[^<>]*>", "", text[1:-1]).strip()
    return re.sub(r"\\(.)", r"\1", text[1:-1]) if text[0] == '"' else text


def read_dot(file: Content) -> Links:
    """A directed graph of Graphviz."""
    places: dict[str, int] = {}
    labels: dict[str, str] = {}
    edges: list[tuple[str, str]] = []
    chain: list[list[str]] = [[]]  # nodes between arrows
    group, before = False, ""  # whether within the braces of a -> {b c}; the sign before

    def close() -> None:
        edges.extend((a, b) for above, below in pairwise(chain) for a in above for b in below)
        chain[:] = [[]]

    for kind, text, at in _tokens(file, _DOT_TOKEN):
        sign = text if kind == "sign" else ""
        if sign == "--":
            hint = "Write a digraph, with -> from parent to child."
            raise _fault(file, at, "an edge without a direction: which end is the parent?", hint)
        if kind == "attributes":
            found = _DOT_LABEL.search(text)
            if found and len(chain) == 1 and chain[0] and (label := _unquoted(found[1])):
                labels[chain[0][-1]] = label
            continue
        was_group, group = group, before == "->" if sign == "{" else group and sign != "}"
        # A statement may end without a sign: where another name comes.
        ends = sign in (";", "{", "}") or (kind == "name" and chain[-1] and before != ",")
        if ends and not (group or was_group):
            close()
        if sign == "->":
            chain.append([])
        elif kind == "name":
            chain[-1].append(_unquoted(text))
            places.setdefault(chain[-1][-1], at)
        before = sign
    close()
    return of_edges([*places], edges, lambda name, _: _place(file, places[name]), labels)


# OBO -----------------------------------------------------------------------------------------------------------------


def of_obo(file: Content, options: Reading) -> Guess:
    """An ontology in OBO: terms and what they are."""

    def read() -> Links:
        rows: list[list[Any]] = []
        places = []
        lines = lines_of(file.text)
        starts = [number for number, line in enumerate(lines) if line.startswith("[")]
        for start, stop in pairwise([*starts, len(lines)]):
            term: defaultdict[str, list[str]] = defaultdict(list)
            for key, _, value in (line.partition(":") for line in lines[start + 1 : stop]):
                term[key.strip()].append(value.strip())
            if lines[start].strip() == "[Term]" and term["id"] and term["is_obsolete"] != ["true"]:
                above = tuple(re.split("[!{]", up)[0].strip() for up in term["is_a"])
                rows.append([term["id"][0], (*term["name"], term["id"][0])[0], above])
                places.append(start + 1)
        table = CellTable(rows, places, "terms", header=("id", "name", "is_a"))
        return links_of_columns(table, 0, 2, 1, file, options)

    return Guess("obo", "an ontology in OBO, by its [Term]", read, True)


# XML -----------------------------------------------------------------------------------------------------------------


@dataclass
class _Element:
    tag: str
    parent: int
    line: int
    named: dict[str, str]  # attributes, and children that have none themselves
    plain: bool  # without attributes
    text: list[str] = field(default_factory=list)  # what it begins with
    is_leaf: bool = True

    @property
    def name(self) -> str:
        found = next((self.named[key] for key in NAME_KEYS if self.named.get(key)), "")
        return found or ("".join(self.text).strip() if self.plain else "")


def of_xml(file: Content) -> Guess:
    """Elements that stand in elements of the same tag and have a name, as Label Studio, OPML and others write them."""
    elements = _elements(file)
    named = Counter(element.tag for element in elements if element.name)
    inside = {e.tag for e in elements if e.parent >= 0 and elements[e.parent].tag == e.tag}
    tag = next((tag for tag, count in named.most_common() if tag in inside or (tag == "Choice" and count > 1)), None)
    if tag is None:
        what = "this is XML, and no elements of one tag with a name stand in one another"
        raise UserError(f"{file.path}: {what}", hint="Write the tree as a table, JSON or indented text.")

    def is_top(element: _Element) -> bool:
        return element.tag == tag and (element.parent < 0 or elements[element.parent].tag != tag)

    # Where elements of the tag stand in several places, those that are nested are the tree, others a flat choice.
    parents = (elements[e.parent] for e in elements if e.tag == tag and not is_top(e))
    deep = {parent.parent for parent in parents if is_top(parent)}
    nodes: list[_Element] = []
    above: list[int | None] = []
    place: list[int | None] = []  # the node that an element is, or stands in; −1 for none yet, None beside the tree
    for element in elements:
        here = place[element.parent] if element.parent >= 0 else -1
        if deep and is_top(element) and element.parent not in deep:
            here = None
        elif element.tag == tag and here is not None and element.name:
            above.append(None if here < 0 else here)
            here = len(nodes)
            nodes.append(element)
        place.append(here)
    names = [element.name for element in nodes]
    links = Links(names, above, lambda node: f"line {nodes[node].line}", by_name=False)
    return Guess("xml", f"XML, {len(nodes)} <{tag}> in one another", lambda: links)


def _elements(file: Content) -> list[_Element]:
    elements: list[_Element] = []
    branch: list[int] = []
    parser = expat.ParserCreate(namespace_separator="}")
    parser.buffer_text = True

    def start(tag: str, attributes: dict[str, str]) -> None:
        named = {key.rpartition("}")[2].casefold(): value.strip() for key, value in attributes.items() if value}
        parent = branch[-1] if branch else -1
        if branch:
            elements[parent].is_leaf = False
        branch.append(len(elements))
        elements.append(_Element(tag.rpartition("}")[2], parent, parser.CurrentLineNumber, named, not attributes))

    def text(data: str) -> None:
        if branch and elements[branch[-1]].is_leaf:
            elements[branch[-1]].text.append(data)

    def end(_: str) -> None:
        element = elements[branch.pop()]
        if branch and element.is_leaf and (name := "".join(element.text).strip()):
            elements[branch[-1]].named.setdefault(element.tag.casefold(), name)

    def entity(*_: object) -> None:
        raise UserError(f"{file.path}: XML with entities of its own is not read")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler, parser.EntityDeclHandler = text, entity
    try:
        parser.Parse(file.text, True)
    except expat.ExpatError as error:
        where = f"line {error.lineno}, column {error.offset + 1}"
        raise UserError(f"{file.path}: {where}: not valid XML: {expat.errors.messages[error.code]}") from None
    return elements
