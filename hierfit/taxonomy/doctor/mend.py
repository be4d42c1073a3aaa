"""Faults that have one sensible remedy, and the remedy as a diff.

A safe mend changes neither how many leaves there are nor which of them are siblings, true duplicates aside. What does
is a judgement: it is made only where its kind is accepted.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace

from hierfit.errors import folded
from hierfit.taxonomy.build import draft_links, without_end
from hierfit.taxonomy.checks import Finding, Problems, listed, path_to, visible
from hierfit.taxonomy.readers.given import Form, Links, Rows

JUDGEMENTS = ("several-parents", "level-order", "alike-names", "same-path")
MAJORITY = 0.75
"""Share of its leaves from which one of a name's several places is taken for the true one."""

_SHOWN_STRAYS = 4
NamePath = tuple[str, ...]
Position = tuple[int, NamePath]


def mended(form: Form, accepted: Collection[str] = ()) -> Form:
    """The same tree without the faults that a rule can mend; whatever else is wrong stays.

    NamePath lose blanks at their ends and characters that cannot be seen. Rows, links and leaves given twice are kept
    once, and so is a row of an inner node. A parent that is not listed, and is no other name misspelt, becomes a root.

    Args:
        form: What a file says.
        accepted: Judgements, each by its kind. ``several-parents`` and ``level-order``: a node goes where three
            quarters of its rows put it. ``alike-names``: inner siblings spelled almost the same get the more frequent
            spelling. ``same-path``: rows of one path are one, though other cells of them differ.
    """
    if isinstance(form, Links):
        return _links(form) if form.by_name else _positions(form)
    rows = [tuple(map(visible, without_end(row))) for row in form.rows]
    if "alike-names" in accepted:
        rows = _one_spelling(rows)
    right: dict[str, Position] = {}
    touched: set[int] = set()
    for name, kind, place, where in _out_of_place(rows) if accepted else ():
        if kind in accepted:
            right[name] = place
            touched |= {number for other, numbers in where.items() if other != place for number in numbers}
    rows = [_in_place(row, right) if number in touched else row for number, row in enumerate(rows)]
    whole = None if "same-path" in accepted else form.whole
    first: dict[object, int] = {}
    for number, row in enumerate(rows):
        first.setdefault((row, tuple(whole[number]) if whole else None), number)
    kept = list(first.values())
    return replace(form.only(kept), rows=[rows[i] for i in kept], whole=whole and [whole[i] for i in kept])


# Judgements on rows --------------------------------------------------------------------------------------------------


def misplaced(form: Rows) -> dict[str, Finding]:
    """Inner names that nearly all rows put in one place, and a few in another; by name."""
    found = {}
    for name, kind, right, where in _out_of_place(form.rows):
        total = sum(map(len, where.values()))
        details = []
        for (depth, above), numbers in sorted(where.items(), key=lambda item: -len(item[1])):
            detail = f"under {' / '.join(above) or 'nothing'}: {len(numbers)} of {total} rows"
            if (depth, above) != right:
                strays = [f"{without_end(form.rows[i])[-1]} ({form.where(i)})" for i in numbers]
                detail += f": {listed(strays, _SHOWN_STRAYS)}"
            details.append(detail)
        levels = f"stands on {len({depth for depth, _ in where})} levels"
        text = f"{name!r} {'has several parents' if kind == 'several-parents' else levels}"
        advice = f"--fix OUT --accept {kind} puts it under {' / '.join(right[1]) or 'nothing'} everywhere."
        found[name] = Finding("problem", kind, text, "", tuple(details), advice, "asked")
    return found


def _out_of_place(rows: Sequence[Sequence[str]]) -> Iterator[tuple[str, str, Position, Mapping[Position, list[int]]]]:
    """Inner names of several places, of which one has most rows by far: kind of fault, that place, rows of each."""
    inner: set[NamePath] = set()
    for above in {tuple(without_end(row)[:-1]) for row in rows}:
        while above and above not in inner:
            inner.add(above)
            above = above[:-1]
    several = {name for name, count in Counter(path[-1] for path in inner).items() if count > 1}
    found: dict[str, dict[Position, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, row in enumerate(rows if several else ()):
        above = tuple(without_end(row)[:-1])
        for depth, name in enumerate(above):
            if name in several:
                found[name][depth, above[:depth]].append(number)
    for name, where in found.items():
        best = max(where, key=lambda place: len(where[place]))
        # A family named like its order ("Avocado" is an Avocado) is one below the other, and no fault.
        nested = any(name in above for _, above in where)
        if not nested and len(where[best]) >= MAJORITY * sum(map(len, where.values())):
            yield name, "level-order" if len({depth for depth, _ in where}) > 1 else "several-parents", best, where


def _in_place(row: NamePath, right: Mapping[str, Position]) -> NamePath:
    """The row with its inner names in the order of their levels, below what usually stands above the deepest."""
    inner = row[:-1]
    depths = {name: right[name][0] if name in right else depth for depth, name in enumerate(inner)}
    if len(set(depths.values())) < len(inner):
        return row
    inner = tuple(sorted(inner, key=depths.__getitem__))
    for depth in reversed(range(len(inner))):
        if inner[depth] in right:
            return (*right[inner[depth]][1], *inner[depth:], row[-1])
    return row


def _one_spelling(rows: list[NamePath]) -> list[NamePath]:
    """Inner siblings that differ in case, blanks or punctuation alone, under their most frequent spelling."""
    for depth in range(max(map(len, rows), default=0)):
        counts: dict[tuple[NamePath, str], Counter[str]] = defaultdict(Counter)
        keys = [(row[:depth], folded(row[depth]) or row[depth]) if len(row) > depth + 1 else None for row in rows]
        for key, row in zip(keys, rows, strict=True):
            if key:
                counts[key][row[depth]] += 1
        usual = {key: spelled.most_common(1)[0][0] for key, spelled in counts.items()}
        rows = [(*row[:depth], usual[key], *row[depth + 1 :]) if key else row
                for key, row in zip(keys, rows, strict=True)]  # fmt: skip
    return rows


# Links ---------------------------------------------------------------------------------------------------------------


def _links(form: Links) -> Links:
    first: dict[tuple[str, str], int] = {}
    for i, (name, parent) in enumerate(zip(form.names, form.parents, strict=True)):
        first.setdefault((visible(str(name)), visible(str(parent)) if parent else ""), i)
    names, parents, links = [name for name, _ in first], [parent for _, parent in first], list(first.values())
    problems = Problems("", str, "")
    draft_links(names, parents, True, problems)
    unknown: dict[str, int] = {}
    for link in [int(found.where) for found in problems if found.kind == "unknown-parent"]:
        unknown.setdefault(parents[link], links[link])
    links += unknown.values()
    labels = {visible(key): visible(label) for key, label in form.labels.items()}
    names, parents, where = [*names, *unknown], [*parents, *[""] * len(unknown)], form.where
    return replace(form, names=names, parents=parents, where=lambda i: where(links[i]), labels=labels)


def _positions(form: Links) -> Links:
    """Names cleaned, and leaves of one name below one parent kept once."""
    names = [visible(str(name)) for name in form.names]
    inner = {*form.parents}
    first: dict[object, int] = {}
    for node, key in enumerate(zip(form.parents, names, strict=True)):
        first.setdefault(node if node in inner else key, node)
    return replace(form, names=names).only(list(first.values()))


# The diff ------------------------------------------------------------------------------------------------------------


def diff(before: Form, after: Form, source: str, out: str) -> list[str]:
    """A unified diff between two forms as tables: rows under the level names, or ``name,parent``."""
    return list(difflib.unified_diff(_lines(before), _lines(after), source, out, lineterm="", n=1))


def _lines(form: Form) -> list[str]:
    cells: list[Sequence[str]]
    if isinstance(form, Rows):
        depth = max(map(len, form.rows), default=0)
        header = list(form.levels) if form.levels else [f"level{i}" for i in range(depth)]
        cells = [header, *([*row, *[""] * (len(header) - len(row))] for row in form.rows)]
    elif form.by_name:
        links = zip(form.names, form.parents, strict=True)
        cells = [["name", "parent"], *([str(name), str(parent or "")] for name, parent in links)]
    else:
        draft = form.draft(Problems("", form.where, ""))
        inner = set(draft.parents)
        leaves = [node for node in range(len(draft.names)) if node not in inner]
        cells = [path_to(node, draft.names, draft.parents) for node in leaves]
    lines = []
    for row in cells:
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(row)
        lines.append(text.getvalue().replace("\n", "\\n"))
    return lines
