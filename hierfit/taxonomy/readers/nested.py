"""Nodes in a document: mappings in mappings, {"name": …, "children": […]}."""

from __future__ import annotations

from collections import Counter
from typing import Any

from hierfit.taxonomy.checks import Finding, remark
from hierfit.taxonomy.readers.columns import CHILDREN, SCHEMA, word
from hierfit.taxonomy.readers.document import Pairs, as_name, is_list, is_number, place_of
from hierfit.taxonomy.readers.given import Guess, Links

NAME_KEYS = ("name", "label", "labelname", "value", "title", "text", "words", "displayname", "alias", "id", "key",
             "topic", "term", "wnid")  # fmt: skip
_GROUP_KEYS = ("superclass", "supercategory", "group", "category", "class", "family", "parent", "instructions")
_NODE_WORDS = frozenset({*NAME_KEYS, *_GROUP_KEYS, *CHILDREN})
_WRAPPERS = frozenset(
    {"data", "taxonomy", "tree", "hierarchy", "result", "results", "root", "classes", "categories", "children",
     "labels", "ontology", "classifications", "taxonomies", "items", "nodes"}
)  # fmt: skip


def unwrapped(value: Any) -> Any:
    """The tree within objects around it: ``{"version": 2, "data": {"tree": …}}``."""
    while isinstance(value, Pairs) and node_keys(value) is None:
        inner = [(key, entry) for key, entry in value if isinstance(entry, list) and entry]
        if len(inner) != 1:
            break
        key, tree = inner[0]
        others = [(other, entry) for other, entry in value if other != key]
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
    names = (*NAME_KEYS, *(_GROUP_KEYS if child is not None and by_key[child] else ()))
    name = next((keys[k] for k in names if k in keys and not isinstance(by_key[keys[k]], list | None)), None)
    if name is None:
        return None
    if child is None and len(pairs) > 1:
        lists = [key for key, entry in pairs if is_list(entry) and entry and all(isinstance(e, Pairs) for e in entry)]
        child = next((k for k in lists if any(k in below.names() for below in by_key[k])), None)
        if child is None and len(lists) == 1 and word(lists[0]) not in SCHEMA:
            child = lists[0] if all(name in below.names() for below in by_key[lists[0]]) else None
    return (name, child) if child is not None or pairs[0][0] == name else None


def of_nested(tree: Any, language: str) -> Guess:
    """What speaks for nodes where they stand; anything can be read so, few things are meant so."""
    first = tree if isinstance(tree, Pairs) or not tree else tree[0]
    keys = node_keys(first) if isinstance(first, Pairs) else None
    if keys:
        nodes = [node for node in (tree if is_list(tree) else [tree]) if isinstance(node, Pairs)]
        # Texts for children may be names of leaves, or the ids of other records: then the links say so.
        said = any(isinstance(child, Pairs) for node in nodes for child in node.get(keys[1] or "") or ())
        why, doubt = f"objects with a {keys[0]!r}", "" if keys[1] else "without children"
    else:
        said, doubt = False, no_classes(tree)
        inner = [entry for entry in _below(tree) if isinstance(entry, list)]
        if not any(isinstance(entry, Pairs) or any(isinstance(e, list) for e in entry) for entry in inner):
            doubt = doubt or "nothing is nested deeper"
        if is_list(tree) and len(tree) > 1 and all(isinstance(e, Pairs) for e in tree):
            alike = {(*record.names(),) for record in tree}
            doubt = doubt or ("records of the same keys are no classes" if len(alike) == 1 else "")
        why = "with mappings in mappings" if isinstance(tree, Pairs) else "lists in lists"
    return Guess("nested", f"{language} {why}", lambda: read_nested(tree), said, doubt)


def _below(value: Any) -> list[Any]:
    return [entry for _, entry in value] if isinstance(value, Pairs) else value


def no_classes(tree: Any) -> str:
    """What speaks against keys for names of classes, if anything does."""
    schema: Counter[str] = Counter()
    stack, seen = [tree], 0
    while stack and seen < 20_000:
        here = stack.pop()
        seen += 1
        if isinstance(here, Pairs):
            words = {known for key in here.names() if (known := word(key)) in SCHEMA}
            if len(words) > 1 and node_keys(here) is None:
                schema.update(words)
        stack += [entry for entry in _below(here) if isinstance(entry, list)]
    if schema:
        return f"keys such as {', '.join(map(repr, sorted(schema)[:4]))} are parts of records, not classes"
    keys = tree.names() if isinstance(tree, Pairs) else []
    return "the keys are numbers: an index of classes" if keys and all(str(key).isdigit() for key in keys) else ""


def read_nested(value: Any) -> Links:
    """Every node where it stands; ``null``, ``""``, ``{}`` and ``[]`` below a key make it a leaf. Any depth.

    Numbers that are all there is below the keys of a mapping are indices or counts, and the keys are leaves.
    """
    names: list[Any] = []
    parents: list[int | None] = []
    findings: list[Finding] = []
    numbers = 0
    # With each value its parent, and the key of the parent's name: that of leaves, too, which have no children to tell.
    stack: list[tuple[Any, int | None, str]] = [(value, None, "")]

    def add(name: Any, parent: int | None) -> int:
        names.append(as_name(name, findings))
        parents.append(parent)
        return len(names) - 1

    while stack:
        here, parent, named = stack.pop()
        if isinstance(here, Pairs) and (keys := node_keys(here) or ((named, None) if named in here.names() else None)):
            node = add(here.get(keys[0]), parent)
            if keys[1] is not None:
                stack.append((here.get(keys[1]), node, keys[0]))
        elif isinstance(here, Pairs):
            counted = len(here) > 1 and all(is_number(below) for _, below in here)
            numbers += len(here) if counted else 0
            stack += [(None if counted else below, add(name, parent), "") for name, below in here][::-1]
        elif isinstance(here, list):
            nodes = (node_keys(entry) for entry in here if isinstance(entry, Pairs)) if not named else ()
            named = named or next((keys[0] for keys in nodes if keys and keys[1]), "")
            stack += [(as_name(entry, findings) if entry is None else entry, parent, named) for entry in here][::-1]
        elif here is not None and here != "":
            add(here, parent)
    if numbers:
        text = f"{numbers} numbers below names are taken for indices or counts, and left out"
        findings.append(remark("number", text))
    return Links(names, parents, lambda node: place_of(names[node]), findings=findings, by_name=False)
