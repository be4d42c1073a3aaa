"""Names that two nodes share, that look alike, or that a text tower would cut."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection

from hierfit.taxonomy.checks import Finding
from hierfit.taxonomy.doctor.shape import Shape
from hierfit.taxonomy.readers.given import Links

CONTEXT = 77
"""Tokens of CLIP's text tower, the two special ones included."""

CountTokens = Callable[[list[str]], list[int]]

_LISTED = 6


def name_findings(shape: Shape, count_tokens: CountTokens, known: Collection[str] = ()) -> list[Finding]:
    """Ambiguous, look-alike and overlong names.

    Args:
        shape: The tree.
        count_tokens: Tokens of each text, special ones included; called for names that may be too long only.
        known: Names that have a finding of their own already.
    """
    return [*_ambiguous(shape, known), *_alike(shape), *_long(shape, count_tokens)]


def _ambiguous(shape: Shape, known: Collection[str]) -> list[Finding]:
    """A bare name means a leaf before an inner node: several leaves, or several inner nodes alone, leave it open."""
    count = shape.index["num_children"].tolist() if shape.index else []
    bearers: dict[str, list[int]] = defaultdict(list)
    for node, name in enumerate(shape.names):
        bearers[name].append(node)
    several = {name: nodes for name, nodes in bearers.items() if len(nodes) > 1 and name not in known}
    open_names: list[tuple[str, list[int]]] = []
    resolved: list[tuple[str, list[int]]] = []
    for name, nodes in several.items():
        leaves = [node for node in nodes if not count[node]]
        (resolved if len(leaves) == 1 else open_names).append((name, leaves or nodes))
    findings = []
    if open_names:
        details = [
            f"{name!r}: {', '.join(shape.path(node) for node in nodes[:3])}" + (", …" if len(nodes) > 3 else "")
            for name, nodes in open_names[:_LISTED]
        ]
        details += [f"… {len(open_names) - _LISTED} more"] if len(open_names) > _LISTED else []
        text = f"{_count(len(open_names), 'name')} of several nodes, that a label by name alone leaves open"
        advice = "Labels have to give the path; prompts get the ancestry added."
        findings.append(Finding("warning", "ambiguous-name", text, "", tuple(details), advice))
    if resolved:
        listed = ", ".join(repr(name) for name, _ in resolved[:_LISTED]) + (", …" if len(resolved) > _LISTED else "")
        text = f"{_count(len(resolved), 'leaf name')} also borne by an inner node; a label means the leaf"
        findings.append(Finding("note", "shared-name", text, "", (listed,)))
    return findings


def _alike(shape: Shape) -> list[Finding]:
    """Different spellings of what may be one thing, on one level."""
    level = shape.index["level"].tolist() if shape.index else []
    count = shape.index["num_children"].tolist() if shape.index else []
    spellings: dict[tuple[int, str], dict[str, int]] = defaultdict(dict)
    for node, name in enumerate(shape.names):
        if folded := "".join(filter(str.isalnum, name.casefold())):
            spellings[level[node], folded].setdefault(name, node)
    findings = []
    for group in spellings.values():
        if len(group) < 2:
            continue
        nodes = list(group.values())
        siblings = len({shape.parents[node] for node in nodes}) < len(nodes)
        inner = siblings and all(count[node] for node in nodes)
        text = f"{' and '.join(repr(name) for name in group)} differ in case, blanks or punctuation alone"
        details = tuple(f"{shape.path(node)} ({shape.where(node)})" for node in nodes[:3])
        advice = "Are they one and the same?"
        if inner:
            advice += " --fix OUT --accept alike-names takes the more frequent spelling."
        findings.append(Finding("warning", "alike-names", text, "", details, advice, "asked" if inner else "no"))
    return findings


def _long(shape: Shape, count_tokens: CountTokens) -> list[Finding]:
    # A token is a byte at least, so that short names need no tokeniser.
    texts = [name.replace("_", " ") for name in shape.names]
    suspects = [node for node, text in enumerate(texts) if len(text.encode()) + 2 > CONTEXT]
    if not suspects:
        return []
    lengths = count_tokens([texts[node] for node in suspects])
    long = [(node, length) for node, length in zip(suspects, lengths, strict=True) if length > CONTEXT]
    if not long:
        return []
    details = [f"{shape.names[node][:60]!r}… ({shape.where(node)}): {length} tokens" for node, length in long[:_LISTED]]
    text = f"{_count(len(long), 'name')} longer than a text tower's {CONTEXT} tokens, before any prompt"
    return [Finding("warning", "long-name", text, "", tuple(details), "They would be cut: shorten them.")]


def id_findings(form: object) -> list[Finding]:
    """Siblings whose label is told apart by their id."""
    if not isinstance(form, Links) or not form.labels:
        return []
    seen: dict[tuple[object, str], list[str]] = defaultdict(list)
    for name, parent in zip(form.names, form.parents, strict=True):
        seen[parent, form.label(name)].append(name)
    twins = {key: sorted(set(ids)) for key, ids in seen.items() if len(set(ids)) > 1}
    details = tuple(f"{label!r}: {', '.join(ids)}" for (_, label), ids in list(twins.items())[:_LISTED])
    text = f"{_count(len(twins), 'label')} of several siblings; their ids are added to tell them apart"
    return [Finding("warning", "ambiguous-name", text, "", details)] if twins else []


def _count(number: int, noun: str) -> str:
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
