"""What is nested in a document: tables of records, mappings in mappings, {"name": …, "children": […]}, XML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any
from xml.etree import ElementTree

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, remark
from hierfit.taxonomy.readers.columns import CHILDREN, SCHEMA, speaks_of_columns, word
from hierfit.taxonomy.readers.document import Pairs, as_name, is_list, is_number, place_of
from hierfit.taxonomy.readers.given import Claim, Links, Score
from hierfit.taxonomy.readers.source import Source
from hierfit.taxonomy.readers.table import Table

_NAME_KEYS = ("name", "label", "labelname", "value", "title", "text", "words", "displayname", "alias", "id", "key",
              "topic", "term", "wnid")  # fmt: skip
_GROUP_KEYS = ("superclass", "supercategory", "group", "category", "class", "family", "parent", "instructions")
_NODE_WORDS = frozenset({*_NAME_KEYS, *_GROUP_KEYS, *CHILDREN})
_WRAPPERS = frozenset(
    {"data", "taxonomy", "tree", "hierarchy", "result", "results", "root", "classes", "categories", "children",
     "labels", "ontology", "classifications", "taxonomies", "items", "nodes"}
)  # fmt: skip
_DEEPEST = 6  # wrappings around records


def unwrapped(value: Any) -> Any:
    """The tree within objects around it: ``{"version": 2, "data": {"tree": …}}``."""
    while isinstance(value, Pairs) and node_keys(value) is None:
        inner = [(key, entry) for key, entry in value if isinstance(entry, list) and entry]
        if len(inner) != 1:
            break
        (key, tree), others = inner[0], [pair for pair in value if pair[0] != inner[0][0]]
        # All other keys may be those of a file's head.
        head = others and all(word(other) in SCHEMA and not (isinstance(entry, Pairs) or entry is None)
                              for other, entry in others)  # fmt: skip
        if not (word(key) in _WRAPPERS or head):
            break
        value = tree
    return value


def node_keys(pairs: Pairs) -> tuple[str, str | None] | None:
    """The keys for the name and the children of a node written as an object; None for a plain mapping."""
    # As `word`, but fast enough for a million names.
    folded = ((str(key).casefold().replace("_", "").replace(" ", "").lstrip("@"), key) for key, _ in reversed(pairs))
    keys = {found: key for found, key in folded if found in _NODE_WORDS}
    if not keys:
        return None
    by_key: dict[str, Any] = dict(reversed(pairs))
    child = next((keys[k] for k in CHILDREN if k in keys and isinstance(by_key[keys[k]], list | None)), None)
    names = (*_NAME_KEYS, *(_GROUP_KEYS if child is not None and by_key[child] else ()))
    name = next((keys[k] for k in names if k in keys and not isinstance(by_key[keys[k]], list | None)), None)
    if name is None:
        return None
    if child is None and len(pairs) > 1:
        lists = [key for key, entry in pairs if is_list(entry) and entry and all(isinstance(e, Pairs) for e in entry)]
        child = next((k for k in lists if any(k in below.names() for below in by_key[k])), None)
    return (name, child) if child is not None or pairs[0][0] == name else None


def claim(tree: Any, language: str) -> Claim:
    """What speaks for nodes where they stand; anything can be read so, few things are meant so."""
    first = tree if isinstance(tree, Pairs) or not tree else tree[0]
    keys = node_keys(first) if isinstance(first, Pairs) else None
    if keys and keys[1] is not None:
        nodes = tree if is_list(tree) else [tree]
        deep = any(isinstance(e, Pairs) for node in nodes if isinstance(node, Pairs) for e in node.get(keys[1]) or ())
        # Texts for children may be names of leaves, or the ids of other records: then the links are certain.
        score, why = Score.CERTAIN if deep else Score.LIKELY, f"objects with {keys[0]!r} and {keys[1]!r}"
    elif keys:
        score, why = Score.POSSIBLE, f"objects with a {keys[0]!r} and no children"
    else:
        fault = contradiction(tree)
        inner = [entry for entry in _below(tree) if isinstance(entry, list)]
        deep = any(isinstance(entry, Pairs) or any(isinstance(e, list) for e in entry) for entry in inner)
        score = Score.LIKELY if deep and not fault else Score.POSSIBLE
        why = "with mappings in mappings" if isinstance(tree, Pairs) else "lists in lists"
        why += f"; but {fault}" if fault else ""
    return Claim("nested", score, f"{language} {why}", lambda: read_nested(tree))


def _below(value: Any) -> list[Any]:
    return [entry for _, entry in value] if isinstance(value, Pairs) else value


def contradiction(tree: Any) -> str:
    """What speaks against keys that are classes, if anything does."""
    schema: Counter[str] = Counter()
    shared: Counter[tuple[str, ...]] = Counter()
    stack, seen = [tree], 0
    while stack and seen < 20_000:
        here = stack.pop()
        seen += 1
        if isinstance(here, Pairs):
            words = dict.fromkeys(known for key in here.names() if (known := word(key)) in SCHEMA)
            if len(words) > 1 and node_keys(here) is None:
                schema.update(words.keys())
                shared[tuple(sorted(map(str, here.names())))] += 1
        stack += [entry for entry in _below(here) if isinstance(entry, list)]
    if schema:
        listed = ", ".join(repr(name) for name, _ in schema.most_common(4))
        most = max(shared.values())
        return f"keys such as {listed}{f' in {most} places' if most > 1 else ''} are parts of records, not classes"
    keys = tree.names() if isinstance(tree, Pairs) else []
    if keys and all(str(key).isdigit() for key in keys):
        return "the keys are numbers: an index of classes"
    if sum(word(key) in ("train", "val", "test", "nc") for key in keys) > 1:
        return "the keys are those of splits or settings"
    return ""


def read_nested(value: Any) -> Links:
    """Every node where it stands; ``null``, ``""``, ``{}`` and ``[]`` below a key make it a leaf. Any depth.

    Numbers that are all there is below the keys of a mapping are indices or counts, and the keys are leaves.
    """
    names: list[Any] = []
    parents: list[int | None] = []
    findings: list[Finding] = []
    numbers = 0
    stack: list[tuple[Any, int | None]] = [(value, None)]

    def add(name: Any, parent: int | None) -> int:
        names.append(as_name(name, findings))
        parents.append(parent)
        return len(names) - 1

    while stack:
        here, parent = stack.pop()
        if isinstance(here, Pairs) and (keys := node_keys(here)):
            node = add(here.get(keys[0]), parent)
            if keys[1] is not None:
                stack.append((here.get(keys[1]), node))
        elif isinstance(here, Pairs):
            counted = len(here) > 1 and all(is_number(below) for _, below in here)
            numbers += len(here) if counted else 0
            stack += [(None if counted else below, add(name, parent)) for name, below in here][::-1]
        elif isinstance(here, list):
            stack += [(as_name(entry, findings) if entry is None else entry, parent) for entry in here][::-1]
        elif here is not None and here != "":
            add(here, parent)
    if numbers:
        text = f"{numbers} numbers below names are taken for indices or counts, and left out"
        findings.append(remark("number", text))
    return Links(names, parents, lambda node: place_of(names[node]), findings=findings, by_name=False)


# Records -------------------------------------------------------------------------------------------------------------


def record_tables(value: Any, language: str) -> dict[str, Table]:
    """Tables of the records in a document, by the keys that lead to them; lists along the way are gone through.

    Records are mappings in a list; mappings below different names that have their keys in common (then their name is
    their ``key``); or a list of cells below each column's name, as pandas and plotly write tables.
    """
    found: dict[str, list[Pairs]] = {}
    stack: list[tuple[str, Any, int]] = [("", value, 0)] if isinstance(value, list) else []
    while stack:
        at, here, depth = stack.pop()
        below = [(f"{at}.{key}".strip("."), entry) for key, entry in here] if isinstance(here, Pairs) else [
            (at, entry) for entry in here]  # fmt: skip
        if isinstance(here, Pairs):
            records = _columns(here)
            if not records and _are_alike([entry for _, entry in here]):
                records = [Pairs([("key", key), *entry]) for key, entry in here]
        else:
            records = here if all(isinstance(entry, Pairs) for entry in here) else []
        if records:
            found.setdefault(at, []).extend(records)
        stack += [(key, entry, depth + 1) for key, entry in reversed(below)
                  if isinstance(entry, list) and depth < _DEEPEST]  # fmt: skip
    return {at: _table_of(records, f"{language} records") for at, records in found.items()}


def _are_alike(entries: Sequence[Any]) -> bool:
    """Whether mappings have most of their keys in common, two at least."""
    if len(entries) < 2 or not all(isinstance(entry, Pairs) and entry for entry in entries):
        return False
    counts = Counter(key for entry in entries for key in dict.fromkeys(entry.names()))
    return sum(2 * count > len(entries) for count in counts.values()) >= 2 and 2 * len(counts) <= sum(counts.values())


def _columns(value: Pairs) -> list[Pairs]:
    """Records out of {column: [cell, …]} or {columns: […], data: [[…], …]}; none where it is no such thing."""
    by_key: dict[str, Any] = dict(value)
    names, rows = by_key.get("columns"), by_key.get("data")
    if not (isinstance(names, list) and isinstance(rows, list)):
        names = [re.sub(r"s$", "", str(key)) for key in by_key]
        lists = [*by_key.values()]
        if not 1 < len(lists) < 40 or not all(isinstance(cells, list) for cells in lists):
            return []
        if not speaks_of_columns(names) or len({*map(len, lists)}) > 1:
            return []
        lists = [[cell for _, cell in cells] if isinstance(cells, Pairs) else cells for cells in lists]
        rows = [*map(list, zip(*lists, strict=True))]
    if isinstance(names, Pairs) or not all(isinstance(row, list) and not isinstance(row, Pairs) for row in rows):
        return []
    return [Pairs(zip(map(str, names), row, strict=False)) for row in rows]


def _table_of(records: Sequence[Pairs], what: str) -> Table:
    header: dict[str, int] = {}
    rows: list[list[Any]] = []
    for record in records:
        row: list[Any] = [""] * len(header)
        for key, value in record:
            column = header.setdefault(str(key), len(header))
            row += [""] * (column + 1 - len(row))
            row[column] = _cell_of(value)
        rows.append(row)
    return Table(rows, range(1, len(rows) + 1), what, True, "record", tuple(header)).without_floats()


def _cell_of(value: Any) -> Any:
    """A value as a cell: text, or a tuple of texts for a list; a mapping is its id or name, or its text in English."""
    if isinstance(value, str):
        return value
    if isinstance(value, Pairs):
        own = next((entry for key, entry in value if key in ("id", "@id", "name", "@value")), None)
        texts = value if all(isinstance(entry, str) for _, entry in value) else ()
        english = sorted(texts, key=lambda pair: not pair[0].startswith("en"))[:1]
        return str(own if own is not None else english[0][1] if english else "")
    if isinstance(value, list):
        return tuple(str(_cell_of(entry)) for entry in value)
    if value is None or value != value:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


# XML -----------------------------------------------------------------------------------------------------------------


def xml_claim(source: Source) -> Claim:
    """Elements that stand in elements of the same tag and have a name, as Label Studio, OPML and others write them."""
    if "<!ENTITY" in source.text:
        raise UserError(f"{source.path}: XML with entities of its own is not read")
    try:
        root = ElementTree.fromstring(source.text)
    except ElementTree.ParseError as error:
        line, column = error.position
        what = str(error).partition(":")[0]
        raise UserError(f"{source.path}: line {line}, column {column + 1}: not valid XML: {what}") from None
    for element in root.iter():
        element.tag = _bare(element.tag)
    tags = Counter(element.tag for element in root.iter() if _name_of(element))
    inside = {child.tag for parent in root.iter() for child in parent if child.tag == parent.tag}
    tag = next((tag for tag, count in tags.most_common() if tag in inside or (tag == "Choice" and count > 1)), None)
    if tag is None:
        what = "this is XML, and no elements of one tag with a name stand in one another"
        raise UserError(f"{source.path}: {what}", hint="Write the tree as a table, JSON or indented text.")
    # Where elements of the tag stand in several places, those that are nested are the tree, others a flat choice.
    groups = [[child for child in parent if child.tag == tag] for parent in root.iter() if parent.tag != tag]
    groups = [[root], *groups] if root.tag == tag else groups
    deep = [group for group in groups if any(child.tag == tag for element in group for child in element)]
    tops = [top for group in deep or groups for top in group]
    count = sum(element.tag == tag for top in tops for element in top.iter())

    def read() -> Links:
        names: list[str] = []
        parents: list[int | None] = []
        stack: list[tuple[ElementTree.Element, int | None]] = [(top, None) for top in reversed(tops)]
        while stack:
            element, parent = stack.pop()
            if element.tag == tag and (name := _name_of(element)):
                names.append(name)
                parents.append(parent)
                parent = len(names) - 1
            stack += [(child, parent) for child in reversed(element)]

        def where(node: int) -> str:  # of the name's first appearance: the standard library's parser keeps no places
            at = source.text.find(names[node])
            return f"line {source.text.count(chr(10), 0, at) + 1}" if at >= 0 else repr(names[node])

        return Links(names, parents, where, by_name=False)

    return Claim("xml", Score.LIKELY, f"XML, {count} <{tag}> in one another", read)


def _bare(tag: object) -> str:
    return re.sub(r"\{.*\}", "", str(tag))


def _name_of(element: ElementTree.Element) -> str:
    """The attribute, or the child without children, that names an element; else the text it begins with."""
    named = {child.tag.casefold(): (child.text or "").strip() for child in reversed(element) if not len(child)}
    named |= {_bare(key).casefold(): value.strip() for key, value in element.attrib.items() if value}
    name = next((named[known] for known in _NAME_KEYS if named.get(known)), "")
    return name or ("" if element.attrib else (element.text or "").strip())
