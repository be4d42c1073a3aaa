"""Faults that have one sensible remedy, and the remedy as a diff.

A safe mend changes neither how many leaves there are nor which of them are siblings, true duplicates aside. What does
is a judgement: it is made only where its kind is accepted.
"""

from __future__ import annotations

import csv
import difflib
import io
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Literal, get_args

from hierfit.taxonomy.build import draft_links
from hierfit.taxonomy.checks import Finding, Problems, path_to, visible
from hierfit.taxonomy.readers.given import Form, Links, Rows

Judgement = Literal["several-parents", "level-order", "alike-names", "same-path"]
JUDGEMENTS: tuple[str, ...] = get_args(Judgement)

MAJORITY = 0.75
"""Share of its leaves from which one of a name's several places is taken for the true one."""

_LISTED = 4
Row = tuple[str, ...]
Place = tuple[int, Row]


def mended(form: Form, accepted: Collection[str] = ()) -> Form:
    """The same tree without the faults that a rule can mend; whatever else is wrong stays.

    Names lose blanks at their ends and characters that cannot be seen. Rows, links and leaves given twice are kept
    once, and so is a row of an inner node. A parent that is not listed, and is no other name misspelt, becomes a root.

    Args:
        form: What a file says.
        accepted: Judgements, each by its kind. ``several-parents`` and ``level-order``: a node goes where three
            quarters of its rows put it. ``alike-names``: inner siblings spelled almost the same get the more frequent
            spelling. ``same-path``: rows of one path are one, though other cells of them differ.
    """
    if isinstance(form, Links):
        return _links(form) if not form.by_position else _positions(form)
    rows = [tuple(map(visible, row)) for row in full_rows(form)]
    if "alike-names" in accepted:
        rows = _one_spelling(rows)
    rows = _under_the_usual_parent(rows, accepted)
    whole = None if form.whole is None or "same-path" in accepted else form.whole
    seen: set[object] = set()
    kept = []
    for number, row in enumerate(rows):
        key = (row, None if whole is None else tuple(whole[number]))
        if key not in seen:
            kept.append(number)
            seen.add(key)
    return replace(form.only(kept), rows=[rows[number] for number in kept], whole=whole and [whole[i] for i in kept])


def full_rows(form: Rows) -> list[Row]:
    """The rows, empty cells at their ends cut off."""
    rows = []
    for row in form.rows:
        stop = len(row)
        while stop and row[stop - 1] == "":
            stop -= 1
        rows.append(tuple(row[:stop]))
    return rows


# Judgements on rows --------------------------------------------------------------------------------------------------


def misplaced(form: Rows) -> dict[str, Finding]:
    """Inner names that nearly all rows put in one place, and a few in another; by name."""
    rows = full_rows(form)
    found = {}
    for name, where in _places(rows).items():
        right = _usual(name, where)
        if right is None:
            continue
        total = sum(map(len, where.values()))
        details = []
        for (depth, above), numbers in sorted(where.items(), key=lambda item: -len(item[1])):
            detail = f"under {' / '.join(above) or 'nothing'}: {len(numbers)} of {total} rows"
            if (depth, above) != right:
                detail += ": " + ", ".join(f"{rows[i][-1]} ({form.where(i)})" for i in numbers[:_LISTED])
                detail += ", …" if len(numbers) > _LISTED else ""
            details.append(detail)
        levels = len({depth for depth, _ in where})
        kind = "level-order" if levels > 1 else "several-parents"
        text = f"{name!r} stands on {levels} levels" if levels > 1 else f"{name!r} has several parents"
        advice = f"--fix OUT --accept {kind} puts it under {' / '.join(right[1]) or 'nothing'} everywhere."
        found[name] = Finding("problem", kind, text, "", tuple(details), advice, "asked")
    return found


def _places(rows: Sequence[Row]) -> dict[str, dict[Place, list[int]]]:
    """For each inner name of several places these places, as depth and names above, with the rows that pass there."""
    places_of: dict[str, set[Place]] = defaultdict(set)
    for row in set(row[:-1] for row in rows):
        for depth, name in enumerate(row):
            places_of[name].add((depth, row[:depth]))
    several = {name for name, places in places_of.items() if len(places) > 1}
    found: dict[str, dict[Place, list[int]]] = defaultdict(lambda: defaultdict(list))
    for number, row in enumerate(rows if several else ()):
        for depth, name in enumerate(row[:-1]):
            if name in several:
                found[name][depth, row[:depth]].append(number)
    return found


def _usual(name: str, where: Mapping[Place, list[int]]) -> Place | None:
    """The place that most rows give, if they are most by far.

    A family named like its order ("Avocado" is an Avocado) is one below the other, and no fault.
    """
    best = max(where, key=lambda place: len(where[place]))
    share = len(where[best]) / sum(map(len, where.values()))
    return best if share >= MAJORITY and not any(name in above for _, above in where) else None


def _under_the_usual_parent(rows: list[Row], accepted: Collection[str]) -> list[Row]:
    right: dict[str, Place] = {}
    touched: set[int] = set()
    for name, where in _places(rows).items() if accepted else ():
        kind = "level-order" if len({depth for depth, _ in where}) > 1 else "several-parents"
        place = _usual(name, where)
        if place is not None and kind in accepted:
            right[name] = place
            touched |= {number for other, numbers in where.items() if other != place for number in numbers}
    return [_in_place(row, right) if number in touched else row for number, row in enumerate(rows)]


def _in_place(row: Row, right: Mapping[str, Place]) -> Row:
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


def _one_spelling(rows: list[Row]) -> list[Row]:
    """Inner siblings that differ in case, blanks or punctuation alone, under their most frequent spelling."""
    for depth in range(max(map(len, rows), default=0)):
        counts: dict[tuple[Row, str], Counter[str]] = defaultdict(Counter)
        for row in rows:
            if len(row) > depth + 1:
                counts[row[:depth], _folded(row[depth])][row[depth]] += 1
        best = {key: spelled.most_common(1)[0][0] for key, spelled in counts.items() if len(spelled) > 1}
        if best:
            rows = [
                (*row[:depth], best.get((row[:depth], _folded(row[depth])), row[depth]), *row[depth + 1 :])
                if len(row) > depth + 1
                else row
                for row in rows
            ]
    return rows


def _folded(name: str) -> str:
    return "".join(filter(str.isalnum, name.casefold())) or name


# Links ---------------------------------------------------------------------------------------------------------------


def _links(form: Links) -> Links:
    names = [visible(str(name)) for name in form.names]
    parents = [visible(str(parent)) if parent else None for parent in form.parents]
    kept = [
        *{(name, parent): i for i, (name, parent) in reversed([*enumerate(zip(names, parents, strict=True))])}.values()
    ]
    kept.sort()
    out_names, out_parents, links = [names[i] for i in kept], [parents[i] for i in kept], list(kept)
    problems = Problems("", str, "")
    draft_links(out_names, [parent or "" for parent in out_parents], problems)
    unknown = {int(finding.where) for finding in problems if finding.kind == "unknown-parent"}
    for i in sorted(unknown):
        parent = out_parents[i]
        if parent is not None and parent not in out_names[len(kept) :]:
            out_names.append(parent)
            out_parents.append(None)
            links.append(kept[i])
    labels = {visible(key): visible(label) for key, label in form.labels.items()}
    where = form.where
    return replace(form, names=out_names, parents=out_parents, where=lambda i: where(links[i]), labels=labels)


def _positions(form: Links) -> Links:
    """Names cleaned, and leaves of one name below one parent kept once."""
    names = [visible(str(name)) for name in form.names]
    inner = {parent for parent in form.parents if isinstance(parent, int) and parent >= 0}
    seen: set[tuple[object, str]] = set()
    kept = []
    for node, key in enumerate(zip(form.parents, names, strict=True)):
        if node in inner or key not in seen:
            kept.append(node)
        if node not in inner:
            seen.add(key)
    return replace(form, names=names).only(kept)


# The diff ------------------------------------------------------------------------------------------------------------


def diff(before: Form, after: Form, source: str, out: str) -> list[str]:
    """A unified diff between two forms as tables: rows under the level names, or ``name,parent``."""
    return list(difflib.unified_diff(_lines(before), _lines(after), source, out, lineterm="", n=1))


def _lines(form: Form) -> list[str]:
    if isinstance(form, Rows):
        depth = max(map(len, form.rows), default=0)
        header = list(form.levels) if form.levels else [f"level{i}" for i in range(depth)]
        cells = [header, *([*row, *[""] * (len(header) - len(row))] for row in form.rows)]
    elif form.by_position:
        draft = form.draft(Problems("", form.where, ""))
        inner = set(draft.parents)
        leaves = [node for node in range(len(draft.names)) if node not in inner]
        cells = [path_to(node, draft.names, draft.parents) for node in leaves]
    else:
        cells = [["name", "parent"]]
        cells += [[str(n), str(p or "")] for n, p in zip(form.names, form.parents, strict=True)]
    lines = []
    for row in cells:
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(row)
        lines.append(text.getvalue().replace("\n", "\\n"))
    return lines
