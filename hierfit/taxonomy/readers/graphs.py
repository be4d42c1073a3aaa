"""Graphs: networkx's node-link JSON and its relatives, Graphviz, and ontologies in OBO."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, problem
from hierfit.taxonomy.readers.document import Pairs, as_name, is_list, place_of
from hierfit.taxonomy.readers.given import Claim, Links, Reading, Score
from hierfit.taxonomy.readers.indices import id_names
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import lines_of

LINK_KEYS = ("links", "edges")  # networkx wrote the first until 3.3, and writes the second since
_ID_KEYS = ("id", "key", "name")
_LABEL_KEYS = ("label", "lbl", "name", "title")
_ENDS = (("source", "target"), ("from", "to"), ("parent", "child"), ("obj", "sub"), ("start", "end"))
Ends = list[tuple[str, str]]


def node_link_claim(value: Pairs, source: Source, options: Reading) -> Claim | None:
    """Node-link JSON, and cytoscape's and OBO's graphs."""
    graph, elements = value.get("graphs"), value.get("elements")
    value = graph[0] if is_list(graph) and len(graph) == 1 and isinstance(graph[0], Pairs) else value
    value = elements if isinstance(elements, Pairs) else value
    nodes, adjacency = value.get("nodes"), value.get("adjacency")
    if is_list(nodes) and is_list(adjacency) and all(isinstance(node, Pairs) for node in nodes):
        near = [[node.get("id"), dict(other).get("id")] for node, others in zip(nodes, adjacency, strict=False)
                for other in others if isinstance(other, Pairs)]  # fmt: skip
        value = Pairs([*value, ("links", near)])
    link = next((key for key in LINK_KEYS if isinstance(value.get(key), list)), None)
    if link is None or not isinstance(nodes, list):
        return None
    why = f"{source.language} graph, by its keys 'nodes' and {link!r}"
    return Claim("node-link", Score.CERTAIN, why, lambda: _read_node_link(value, link, source, options))


def _read_node_link(value: Pairs, key: str, source: Source, options: Reading) -> Links:
    """Nodes in the order of the file; a node's label, where it has one, is its name, its id tells it apart."""
    findings: list[Finding] = []
    labels: dict[str, str] = {}
    ids: list[str] = []
    for number, node in enumerate(value.get("nodes")):
        attributes = _attributes(node) if isinstance(node, Pairs) else {"id": node}
        name, label = ([attributes[key] for key in keys if attributes.get(key) is not None][:1]
                       for keys in (_ID_KEYS, _LABEL_KEYS))  # fmt: skip
        if not name or isinstance(name[0], list):
            findings.append(problem("node", "a node needs an 'id'", f"nodes[{number}]"))
            continue
        ids.append(as_name(name[0], findings))
        if label and not isinstance(label[0], list) and label[0] != ids[-1]:
            labels[ids[-1]] = as_name(label[0], findings)
    pairs: Ends = []
    known = set(ids)
    for number, link in enumerate(value.get(key)):
        at, ends = f"{key}[{number}]", link
        if isinstance(link, Pairs):
            attributes = _attributes(link)
            ends = next(([attributes[a], attributes[b]] for a, b in _ENDS if a in attributes and b in attributes), [])
        if not is_list(ends) or len(ends) != 2 or any(end is None or isinstance(end, list) for end in ends):
            findings.append(problem("link", "a link needs a 'source' and a 'target'", at))
            continue
        above, below = as_name(ends[0], findings), as_name(ends[1], findings)
        if unknown := [end for end in (above, below) if end not in known]:
            text = f"{at}: there is no node {', '.join(map(repr, unknown))}"
            findings.append(problem("link", text, place_of(*unknown)))
        else:
            pairs.append((above, below))
    labels |= id_names(options, source, ids, findings) if options.names else {}
    # Level names, where hierfit wrote them into the graph's own attributes.
    levels = value.get("graph").get("levels") if isinstance(value.get("graph"), Pairs) else None
    named = is_list(levels) and levels and all(isinstance(level, str) for level in levels)
    return _links(ids, pairs, place_of, labels, findings, levels if named else None)


def _attributes(entry: Pairs) -> Mapping[str, Any]:
    """Of a node or link; cytoscape puts them below ``data``."""
    attributes = dict(entry)
    data = attributes.get("data")
    return dict(data) if isinstance(data, Pairs) and len(entry) < 4 and "id" not in attributes else attributes


def _links(
    ids: Sequence[str], pairs: Ends, place: Callable[[str | None, str], str], labels: dict[str, str],
    findings: Sequence[Finding] = (), levels: Sequence[str] | None = None,
) -> Links:  # fmt: skip
    """Links that run from parent to child; or, where only that makes a tree, from child to parent."""
    above, below = ([pair[side] for pair in pairs] for side in (0, 1))
    if len(set(above)) == len(above) and len(set(below)) < len(below):
        pairs = [(parent, child) for child, parent in pairs]
    parents: dict[str, list[str | None]] = {}
    for parent, child in pairs:
        if parent != child:
            parents.setdefault(child, []).append(parent)
    links = [(name, parent) for name in ids for parent in parents.pop(name, [None])]
    names, parents_of = [name for name, _ in links], [parent for _, parent in links]
    return Links(names, parents_of, lambda link: place(parents_of[link], names[link]), labels, levels, findings)


# Graphviz ------------------------------------------------------------------------------------------------------------

_DOT = re.compile(
    r'\s+|//[^\n]*|^\#[^\n]*|/\*.*?\*/|"(?P<text>(?:[^"\\]|\\.)*)"|<(?P<html>[^<>]*(?:<[^<>]*>[^<>]*)*)>'
    r'|(?P<sign>->|--|[{}\[\];,=:])|(?P<word>[^\s"{}\[\];,=:>-]+(?:-(?![->])[^\s"{}\[\];,=:>-]*)*)',
    re.DOTALL | re.MULTILINE,
)


def dot_claim(source: Source) -> Claim:
    """A directed graph of Graphviz."""
    return Claim("dot", Score.CERTAIN, "a Graphviz graph", lambda: _read_dot(source))


def _read_dot(source: Source) -> Links:
    tokens = _dot_tokens(source)
    lines: dict[str, int] = {}
    labels: dict[str, str] = {}
    pairs: Ends = []
    chain: list[list[str]] = [[]]  # nodes between arrows
    group = False  # whether within the braces of a -> {b c}

    def close() -> None:
        pairs.extend((a, b) for above, below in pairwise(chain) for a in above for b in below)
        chain[:] = [[]]

    at = next((i for i, token in enumerate(tokens) if token[1] == "{"), len(tokens)) + 1
    while at < len(tokens):
        text, sign, line = tokens[at]
        if sign == "--":
            raise UserError(f"{source.path}: line {line}: an edge without a direction: which end is the parent?",
                            hint="Write a digraph, with -> from parent to child.")  # fmt: skip
        if sign == "[":
            end = next((i for i in range(at, len(tokens)) if tokens[i][1] == "]"), len(tokens))
            label = [tokens[i + 2][0] for i in range(at, min(end, len(tokens) - 2))
                     if tokens[i][0] == "label" and tokens[i + 1][1] == "="]  # fmt: skip
            if label and label[-1] and len(chain) == 1 and chain[0]:
                labels[chain[0][-1]] = label[-1]
            at = end
        elif sign == "->":
            chain.append([])
        elif sign == "{" and len(chain) > 1 and not chain[-1]:
            group = True
        elif group and sign in ("}", ",", ";"):
            group = sign != "}"
        elif sign in (";", "{", "}"):
            close()
        elif sign == ":" or text.casefold() == "subgraph":
            at += 1  # a port, or the name of a cluster
        elif at + 1 < len(tokens) and tokens[at + 1][1] == "=":
            at += 2
        elif not sign and text.casefold() not in ("node", "edge", "graph"):
            if chain[-1] and not group and tokens[at - 1][1] != ",":
                close()
            chain[-1].append(text)
            lines.setdefault(text, line)
        at += 1
    close()
    return _links([*lines], pairs, lambda _, name: f"line {lines[name]}", labels)


def _dot_tokens(source: Source) -> list[tuple[str, str, int]]:
    """Texts or signs, and their lines."""
    tokens, end, line = [], 0, 1
    while end < len(source.text):
        match = _DOT.match(source.text, end)
        if match is None:
            hint = "This is not sound Graphviz."
            raise UserError(f"{source.path}: line {line}: unexpected {source.text[end : end + 10]!r}", hint=hint)
        if match["text"] is not None:
            tokens.append((re.sub(r"\\(.)", r"\1", match["text"]), "", line))
        elif match["html"] is not None:
            tokens.append((re.sub(r"<[^<>]*>", "", match["html"]).strip(), "", line))
        elif match["sign"] or match["word"]:
            tokens.append((match["word"] or "", match["sign"] or "", line))
        line += match[0].count("\n")
        end = match.end()
    return tokens


# OBO -----------------------------------------------------------------------------------------------------------------


def obo_claim(source: Source) -> Claim:
    """An ontology in OBO: terms and what they are."""

    def read() -> Links:
        links: list[tuple[str, str, int]] = []
        labels: dict[str, str] = {}
        lines = lines_of(source.text)
        starts = [number for number, line in enumerate(lines) if line.startswith("[")]
        for start, stop in pairwise([*starts, len(lines)]):
            term: dict[str, list[str]] = {}
            for key, _, value in (line.partition(":") for line in lines[start + 1 : stop] if ":" in line):
                term.setdefault(key.strip(), []).append(value.strip())
            if lines[start].strip() == "[Term]" and term.get("id") and term.get("is_obsolete") != ["true"]:
                name = term["id"][0]
                labels[name] = term.get("name", [name])[0]
                links += [(name, re.split("[!{]", up)[0].strip(), start + 1) for up in term.get("is_a", [""])]
        names, parents = [name for name, *_ in links], [parent for _, parent, _ in links]
        return Links(names, parents, lambda link: f"line {links[link][2]}", labels)

    return Claim("obo", Score.CERTAIN, "an ontology in OBO, by its [Term]", read)
