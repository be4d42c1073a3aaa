"""Trees that are nested as they are: mappings in mappings, {"name": …, "children": […]}, elements in XML."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any
from xml.etree import ElementTree

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding
from hierfit.taxonomy.readers.columns import CHILDREN, SCHEMA, word
from hierfit.taxonomy.readers.document import Pairs, is_list, place_of
from hierfit.taxonomy.readers.given import Claim, Links, Score, problem, remark
from hierfit.taxonomy.readers.source import Source

_NAME_KEYS = ("name", "label", "labelname", "title", "text", "value", "id", "key", "topic", "term")
_GROUP_KEYS = ("superclass", "supercategory", "group", "category", "class", "family", "parent", "instructions")
_NODE_WORDS = frozenset({*_NAME_KEYS, *_GROUP_KEYS, *CHILDREN})
_WRAPPERS = frozenset(
    {"data", "taxonomy", "tree", "hierarchy", "result", "results", "root", "classes", "categories", "children",
     "labels", "ontology", "classifications", "taxonomies", "items", "nodes"}
)  # fmt: skip
_XML_NAMES = ("name", "label", "value", "title", "text", "words", "displayname", "alias", "id", "wnid")


def unwrapped(value: Any) -> Any:
    """The tree within objects around it: ``{"version": 2, "data": {"tree": …}}``."""
    while isinstance(value, Pairs) and node_keys(value) is None:
        inner = [(key, entry) for key, entry in value if isinstance(entry, list) and entry]
        if len(inner) != 1 or not (word(inner[0][0]) in _WRAPPERS or _describes(value, inner[0][0])):
            break
        value = inner[0][1]
    return value


def _describes(value: Pairs, but: str) -> bool:
    """Whether all other keys of a mapping are those of a file's head."""
    others = [(key, entry) for key, entry in value if key != but]
    plain = all(entry == [] if is_list(entry) else not isinstance(entry, list | None) for _, entry in others)
    return bool(others) and plain and all(word(key) in SCHEMA for key, _ in others)


def _plain(key: object) -> str:
    """`word`, but fast enough for a million names."""
    return str(key).casefold().replace("_", "").replace(" ", "").lstrip("@")


def node_keys(pairs: Pairs) -> tuple[str, str | None] | None:
    """The keys for the name and the children of a node written as an object; None for a plain mapping."""
    keys = {found: key for key, _ in reversed(pairs) if (found := _plain(key)) in _NODE_WORDS}
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


def claim(value: Any, source: Source, verbatim: bool) -> Claim:
    """What speaks for nodes where they stand; anything can be read so, few things are meant so.

    Args:
        value: The document.
        source: For messages.
        verbatim: Whether keys around the tree are roots, as they are where the user names the format.
    """
    tree = value if verbatim else unwrapped(value)
    what = source.language
    fault = contradiction(tree)
    first = tree if isinstance(tree, Pairs) else tree[0] if isinstance(tree, list) and tree else None
    keys = node_keys(first) if isinstance(first, Pairs) else None
    if keys and keys[1] is not None:
        nodes = tree if is_list(tree) else [tree]
        deep = any(isinstance(e, Pairs) for node in nodes if isinstance(node, Pairs) for e in node.get(keys[1]) or ())
        # Texts for children may be names of leaves, or the ids of other records: then the links are certain.
        score, why = Score.CERTAIN if deep else Score.LIKELY, f"{what} objects with {keys[0]!r} and {keys[1]!r}"
    elif keys:
        score, why = Score.POSSIBLE, f"{what} objects with a {keys[0]!r} and no children"
    else:
        holds = _depth(tree) > 2
        score = Score.POSSIBLE if fault or not holds else Score.LIKELY
        why = f"{what} with mappings in mappings" if isinstance(tree, Pairs) else f"{what} lists in lists"
        why += f"; but {fault}" if fault else ""
    against = "keys that name parts of a record"
    return Claim("nested", score, why, against, "nodes where they stand, nested", lambda: read_nested(tree))


def _depth(value: Any) -> int:
    """Lists and mappings in one another, three at most."""
    if not isinstance(value, list):
        return 0
    below = [entry for _, entry in value] if isinstance(value, Pairs) else value
    depth = 0
    for entry in below:
        if isinstance(entry, list) and depth < 2:
            inner = [e for _, e in entry] if isinstance(entry, Pairs) else entry
            depth = max(depth, 2 if isinstance(entry, Pairs) or any(isinstance(e, list) for e in inner) else 1)
    return depth + 1 if below else 0


def contradiction(tree: Any) -> str:
    """What speaks against keys that are classes, if anything does."""
    schema: Counter[str] = Counter()
    shared: Counter[tuple[str, ...]] = Counter()
    stack, seen = [tree], 0
    while stack and seen < 20_000:
        here = stack.pop()
        seen += 1
        if isinstance(here, Pairs):
            words = {word(key) for key in here.names()} & SCHEMA
            if len(words) > 1 and node_keys(here) is None:
                schema.update(words)
                shared[tuple(sorted(map(str, here.names())))] += 1
            stack += [entry for _, entry in here if isinstance(entry, list)]
        elif isinstance(here, list):
            stack += [entry for entry in here if isinstance(entry, list)]
    if schema:
        listed = ", ".join(repr(name) for name, _ in schema.most_common(4))
        again = f" in {shared.most_common(1)[0][1]} places" if shared.most_common(1)[0][1] > 1 else ""
        return f"keys such as {listed}{again} are parts of records, not classes"
    if isinstance(tree, Pairs) and tree and all(str(key).isdigit() for key in tree.names()):
        return "the keys are numbers: an index of classes"
    if isinstance(tree, Pairs) and sum(word(key) in ("train", "val", "test", "nc") for key in tree.names()) > 1:
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
        names.append(name if isinstance(name, str) else as_name(name, findings))
        parents.append(parent)
        return len(names) - 1

    while stack:
        here, parent = stack.pop()
        if isinstance(here, Pairs) and (keys := node_keys(here)):
            node = add(next(entry for key, entry in here if key == keys[0]), parent)
            if keys[1] is not None:
                stack.append((next(entry for key, entry in here if key == keys[1]), node))
        elif isinstance(here, Pairs):
            if len(here) > 1 and all(_is_number(below) for _, below in here):
                numbers += len(here)
                here = Pairs((key, None) for key, _ in here)
            stack += [(below, add(name, parent)) for name, below in here][::-1]
        elif isinstance(here, list):
            stack += [(as_name(entry, findings) if entry is None else entry, parent) for entry in here][::-1]
        elif here is not None and here != "":
            add(here, parent)
    if numbers:
        findings.append(
            remark("number", f"{numbers} numbers below names are taken for indices or counts, and left out")
        )
    return Links(names, parents, lambda node: place_of(names[node]), findings=findings, by_name=False)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def as_name(value: Any, findings: list[Finding]) -> str:
    """A scalar of a document as a name; true, false and null become faults."""
    if isinstance(value, str):
        return value
    if _is_number(value):
        return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
    findings.append(problem("name", f"{value!r} is not a name"))
    return repr(value)


# XML -----------------------------------------------------------------------------------------------------------------


def xml_claims(source: Source) -> Iterator[Claim]:
    """Elements that stand in elements of the same tag and have a name, as Label Studio, OPML and others write them."""
    try:
        if "<!ENTITY" in source.text:
            raise UserError(f"{source.path}: XML with entities of its own is not read")
        root = ElementTree.fromstring(source.text)
    except ElementTree.ParseError as error:
        line, column = error.position
        what = str(error).partition(":")[0]
        raise UserError(f"{source.path}: line {line}, column {column + 1}: not valid XML: {what}") from None
    tags = Counter(_tag(element) for element in root.iter() if _name_of(element))
    inside = Counter(_tag(child) for parent in root.iter() for child in parent if _tag(child) == _tag(parent))
    tag = next((tag for tag, count in tags.most_common() if inside[tag] or (tag == "Choice" and count > 1)), None)
    if tag is None:
        raise UserError(
            f"{source.path}: this is XML, and no elements of one tag with a name stand in one another",
            hint="Write the tree as a table, JSON or indented text.",
        )
    why = f"XML, {tags[tag]} <{tag}> in one another"
    yield Claim("xml", Score.LIKELY, why, "names in other elements", "elements in elements",
                lambda: _read_xml(root, tag, _Lines(source.text)))  # fmt: skip


class _Lines:
    """Where names stand in a text; the standard library's parser keeps no places."""

    def __init__(self, text: str) -> None:
        self.text = text

    def of(self, name: str) -> str:
        at = self.text.find(name)
        return f"line {self.text.count(chr(10), 0, at) + 1}" if at >= 0 else repr(name)


def _read_xml(root: ElementTree.Element, tag: str, lines: _Lines) -> Links:
    names: list[str] = []
    parents: list[int | None] = []
    stack: list[tuple[ElementTree.Element, int | None]] = [(root, None)]
    while stack:
        element, parent = stack.pop()
        if _tag(element) == tag and (name := _name_of(element)):
            names.append(name)
            parents.append(parent)
            parent = len(names) - 1
        stack += [(child, parent) for child in reversed(element)]
    return Links(names, parents, lambda node: lines.of(names[node]), by_name=False)


def _tag(element: ElementTree.Element) -> str:
    return re.sub(r"\{.*\}", "", str(element.tag))


def _name_of(element: ElementTree.Element) -> str:
    """The attribute, or the child without children, that names an element; else the text it begins with."""
    attributes = {re.sub(r"\{.*\}", "", key).casefold(): value for key, value in element.attrib.items()}
    children = {_tag(child).casefold(): (child.text or "").strip() for child in reversed(element) if not len(child)}
    for known in _XML_NAMES:
        if name := (attributes.get(known) or children.get(known) or "").strip():
            return name
    return (element.text or "").strip() if not element.attrib else ""
