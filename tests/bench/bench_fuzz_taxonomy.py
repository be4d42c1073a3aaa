"""Mutated taxonomy files: ``python tests/bench/bench_fuzz_taxonomy.py [--cases 2000] [--seed 0]``.

Each case is a small random forest, written in one of the formats and damaged: bytes and lines lost, doubled, changed or
swapped, strange letters, cut ends, other encodings. It is read, examined by the doctor, mended and compared. Nothing
but a `UserError` may come out; and what is accepted must be the tree that a second, plain reading of the damaged text
gives (the oracles below know the format, and nothing of hierfit), whether the format is named or found out.
"""

from __future__ import annotations

import csv
import io
import json
import random
import sys
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from fuzzing import Attempt, Attempts, Reader, WrongError, main
from hostile import damaged

from hierfit.errors import UserError
from hierfit.taxonomy import doctor
from hierfit.taxonomy.build import Plan, from_links
from hierfit.taxonomy.checks import visible
from hierfit.taxonomy.readers import Reading, read_given, read_plan
from hierfit.taxonomy.readers.given import Given
from hierfit.taxonomy.writers import WRITERS

Paths = frozenset[tuple[str, ...]]
"""A tree as the path of each node: a reading that keeps nothing else."""

NAMES = ["gull", "herring gull", "Larus", "F/A-18", "it's", "a, b", "x: y", "Ærø", "鷗", "n01440764", "auk", "7",
         "tern (sooty)", "Puffin", "kittiwake", "A320", "cat", "carp", "ray", "name", "null", "owl"]  # fmt: skip


def forest(rng: random.Random) -> Plan:
    """Different names, ragged."""
    size = rng.randint(2, 14)
    parents = [None, *(rng.choice([None, *range(node)] + [*range(node)] * 3) for node in range(1, size))]
    return from_links(rng.sample(NAMES, size), parents, None)


def mutate(text: str, rng: random.Random) -> bytes:
    """The text with some damage, or with a name in the place of another; now and then as it was."""
    content = text.encode("utf-8", "surrogatepass")
    for _ in range(rng.choice([0, 1, 1, 1, 2, 3])):
        if rng.random() < 0.2:
            one, other = rng.choice(NAMES), rng.choice(NAMES)
            content = content.replace(one.encode(), other.encode(), 1)
        else:
            content = damaged(content, rng)[1]
    return content


def paths_of(plan: Plan) -> Paths:
    """Of a tree as hierfit reads it."""
    paths: list[tuple[str, ...]] = []
    for name, parent in zip(plan.names, plan.parent.tolist(), strict=True):
        paths.append((*(paths[parent] if parent >= 0 else ()), name))
    return frozenset(paths)


# Oracles: the same from the text alone; whatever they raise means that they cannot read it -------------------------


def _rows(text: str) -> list[list[str]]:
    rows = [row for row in csv.reader(io.StringIO(text, newline=""), strict=True) if any(map(str.strip, row))]
    if sum(map(bool, rows[0])) == 1 < max(map(len, rows)):
        raise ValueError("titles above a header are not for this oracle")
    return rows


def csv_paths(text: str) -> Paths:
    found = set()
    rows = _rows(text)[1:]
    if len({tuple(row[:depth]) for row in rows for depth, cell in enumerate(row) if depth and cell == "null"}) > 1:
        raise ValueError("placeholders are not for this oracle")
    for row in rows:
        while row and not row[-1]:
            row.pop()
        if "" in row:
            raise ValueError("what stands in for a gap is not for this oracle")
        found |= {tuple(row[:depth]) for depth in range(1, len(row) + 1)}
    return frozenset(found)


def csv_parents(text: str) -> Paths:
    header, *rows = _rows(text)
    name, parent = header.index("name"), header.index("parent")
    above = {row[name]: row[parent] if len(row) > parent else "" for row in rows}
    for label in [*above.values()]:
        if label:
            above.setdefault(label, "")
    return frozenset(_climb(label, above) for label in above)


def _climb(label: str, above: dict[str, str]) -> tuple[str, ...]:
    path = [label]
    while above[path[-1]] not in ("", path[-1]) and len(path) < 100:
        path.append(above[path[-1]])
    return tuple(path[::-1])


def json_nested(text: str) -> Paths:
    def walk(value: object, path: tuple[str, ...]) -> set[tuple[str, ...]]:
        if isinstance(value, list):
            return {p for entry in value for p in walk(entry, path)}
        if not isinstance(value, dict):
            return {(*path, str(value))} if value not in (None, "") else set()
        return {p for key, below in value.items() for p in {(*path, key)} | walk(below, (*path, key))}

    return frozenset(walk(json.loads(text), ()))


def json_graph(text: str) -> Paths:
    graph = json.loads(text)
    label = {str(node["id"]): str(node.get("label", node["id"])) for node in graph["nodes"]}
    above = {str(link["target"]): str(link["source"]) for link in graph["edges"]}
    chains = [_climb(node, {key: above.get(key, "") for key in label}) for node in label]
    twins = Counter((above.get(node), name) for node, name in label.items())  # siblings of one label show their ids
    label = {node: f"{name} ({node})" if twins[above.get(node), name] > 1 else name for node, name in label.items()}
    return frozenset(tuple(label[node] for node in chain) for chain in chains)


def brackets(text: str) -> Paths:
    """Newick, read from its end: what stands behind a bracket is the name of what it holds."""
    text = text.strip()
    tokens, at = [], 0
    while text[at] != ";":
        if text[at] == "'":
            end = at + 1
            while text[end] != "'" or text[end + 1] == "'":
                end += 2 if text[end] == "'" else 1
            tokens.append(text[at + 1 : end].replace("''", "'"))
            at = end + 1
        elif text[at] in "(),:[]":
            tokens.append(text[at] * 2)
            at += 1
        elif text[at].isspace():
            at += 1
        else:
            end = at
            while text[end] not in "(),:;[]'":
                end += 1
            tokens.append(text[at:end].strip())
            if tokens[-1].replace(".", "").isdigit() and tokens[-2] == "))":
                raise ValueError("support values are not for this oracle")
            at = end
    if "::" in tokens or "[[" in tokens:
        raise ValueError("lengths and comments are not for this oracle")
    found: set[tuple[str, ...]] = set()
    path: list[str] = []
    name = ""
    for token in [*tokens[::-1], ",,"]:
        if token in ("((", "))", ",,"):
            if token == "))":
                path.append(name)
            if name:
                found.add((*path[:-1], name) if token == "))" else (*path, name))
            if token == "((":
                path.pop()
            name = ""
        else:
            name = token
    if any("" in path[1:] for path in found):
        raise ValueError("names that are made up are not for this oracle")
    return frozenset(tuple(part for part in path if part) for path in found)


def indents(text: str) -> Paths:
    found, path = set(), []
    for line in text.replace("\r", "\n").split("\n"):
        if line.strip():
            indent = len(line) - len(line.lstrip())
            path = [(i, n) for i, n in path if i < indent] + [(indent, line.strip())]
            found.add(tuple(name for _, name in path))
    return frozenset(found)


ORACLES: dict[str, tuple[str, Callable[[str], Paths]]] = {
    "paths": ("csv", csv_paths),
    "child-parent": ("csv", csv_parents),
    "nested": ("json", json_nested),
    "node-link": ("json", json_graph),
    "newick": ("nwk", brackets),
    "outline": ("txt", indents),
}


def expected(oracle: Callable[[str], Paths], content: bytes) -> Paths | None:
    """What a text says; None where the oracle cannot read it."""
    try:
        return oracle(content.decode("utf-8-sig").replace("\r\n", "\n"))
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, csv.Error):
        return None


def taxonomies(folder: Path) -> Attempts:
    """Damages a tree in one of the formats; it is read with its format named, and found out."""

    def attempt(rng: random.Random) -> Attempt:
        form = rng.choice(list(ORACLES))
        suffix, oracle = ORACLES[form]
        content = mutate(WRITERS[form](forest(rng)), rng)  # type: ignore[index]
        path = folder / f"case.{suffix}"
        path.write_bytes(content)
        truth = expected(oracle, content)

        def read() -> None:
            endings = []
            for way, options in (("named", Reading(str(path), form, header=True)), ("found out", Reading(str(path)))):  # type: ignore[arg-type]
                ending, wrong = one(options, truth)
                if wrong:
                    raise WrongError(f"{way}: {wrong}\n{content!r}")
                endings.append(ending)
            if not any(ending.startswith("accepted") for ending in endings):
                raise UserError(", ".join(endings))

        return form, read

    return attempt


def one(options: Reading, truth: Paths | None) -> tuple[str, str]:
    """How a file ends, and what is wrong with that."""
    try:
        given = read_given(options, placed=True)
    except UserError:
        return "refused", ""
    report = doctor.examine(given, lambda texts: [len(text) for text in texts])
    remedy = replace(given, form=doctor.mended(given.form))
    doctor.diff(given.form, doctor.mended(given.form, doctor.JUDGEMENTS), "old", "new")
    faults = {finding.kind for finding in report.findings if finding.severity == "problem"}
    try:
        tree = read_plan(options)
    except UserError as error:
        if not faults:
            return "refused", f"the doctor finds nothing, but it is refused: {error}"
        try:
            after = families(remedy)
        except UserError:
            return "faults listed", ""
        same = faults != {"repeated"} or after == families(given, strict=False)
        return "mended", "" if same else "a mend has changed which leaves are siblings"
    if faults - {*doctor.JUDGEMENTS}:
        return "accepted", f"the doctor finds {faults}, but it is accepted"
    if families(remedy) != families(given):
        return "accepted", "there was nothing to mend, but the leaves have changed"
    if truth is None:
        return "accepted, no oracle", ""
    read = paths_of(tree)
    return "accepted", "" if read == truth else f"read {sorted(read - truth)}, not {sorted(truth - read)}"


def families(given: Given, strict: bool = True) -> Counter[frozenset[str]]:
    """The names of leaves that are siblings, family by family."""
    if strict:
        plan = given.plan()
        names, parents = plan.names, plan.parent.tolist()
    else:
        draft, _ = given.draft()
        names, parents = draft.names, list(draft.parents)
    inner = set(parents)
    leaves: dict[int, set[str]] = {}
    for node, (name, parent) in enumerate(zip(names, parents, strict=True)):
        if node not in inner:
            leaves.setdefault(parent, set()).add(visible(str(name)))
    return Counter(map(frozenset, leaves.values()))


READERS = [Reader("taxonomy", taxonomies)]

if __name__ == "__main__":
    main(READERS, __doc__)
