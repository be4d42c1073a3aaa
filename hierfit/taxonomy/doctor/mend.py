"""Faults that have one sensible remedy, and the remedy as a diff."""

from __future__ import annotations

import csv
import difflib
import io
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from hierfit.taxonomy.doctor.faults import Place, full_rows, places, usual
from hierfit.taxonomy.doctor.sketch import Sketch
from hierfit.taxonomy.readers.given import Form, Links, Rows

Lines = Sequence[Sequence[str]]


def mended(form: Form) -> Form:
    """The same tree without the faults that a rule can mend; whatever else is wrong stays.

    Names lose blanks at their ends and characters that cannot be seen. Rows and links given twice are kept once. A
    node with several parents goes under the one that three quarters of its rows give, or, in links, under the first.
    A row that ends where others go on is left out. Inner siblings spelled almost the same get the more frequent
    spelling. A parent that is not listed becomes a root.
    """
    if isinstance(form, Links) and not form.by_position:
        return _links(form)
    return _rows(form if isinstance(form, Rows) else as_rows(form))


def as_rows(form: Links) -> Rows:
    """Paths of the leaves of links by position."""
    sketch = Sketch.of(form)
    rows: list[list[str]] = []
    for leaf in sketch.leaves:
        node, path = leaf, []
        while node >= 0:
            path.append(str(sketch.names[node]))
            node = sketch.parents[node]
        rows.append(path[::-1])
    return Rows(rows, lambda row: sketch.where(sketch.leaves[row]), form.levels, form.faults)


def _rows(form: Rows) -> Rows:
    rows = [tuple(map(_clean, row)) for row in full_rows(form)]
    rows = _one_spelling(rows)
    rows = _under_the_usual_parent(rows)
    through = {row[:depth] for row in rows for depth in range(1, len(row))}
    kept: list[int] = []
    seen: set[tuple[str, ...]] = set()
    for number, row in enumerate(rows):
        if row not in seen and row not in through:
            kept.append(number)
            seen.add(row)
    where = form.where
    return replace(form, rows=[rows[i] for i in kept], where=lambda row: where(kept[row]))


def _clean(name: str) -> str:
    seen = "".join(" " if unicodedata.category(c) in ("Cc", "Zl", "Zp") else c for c in name if c != "\ufeff")
    seen = "".join(c for c in seen if unicodedata.category(c) != "Cs")
    return seen.strip() if seen != name or seen != seen.strip() else name


def _one_spelling(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Inner siblings that differ in case, blanks or punctuation alone, under their most frequent spelling."""
    for depth in range(max(map(len, rows), default=0)):
        counts: dict[tuple[tuple[str, ...], str], Counter[str]] = defaultdict(Counter)
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


def _under_the_usual_parent(rows: list[tuple[str, ...]]) -> list[tuple[str, ...]]:
    right: dict[str, Place] = {}
    touched: set[int] = set()
    for name, where in places(Rows(rows, str)).items():
        place = usual(where)
        if place is not None and not any(name in above for _, above in where):
            right[name] = place
            touched |= {number for other, numbers in where.items() if other != place for number in numbers}
    return [_in_place(row, right) if number in touched else row for number, row in enumerate(rows)]


def _in_place(row: tuple[str, ...], right: Mapping[str, Place]) -> tuple[str, ...]:
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


def _links(form: Links) -> Links:
    names = [_clean(str(name)) for name in form.names]
    parents = [_clean(str(parent)) if parent else None for parent in form.parents]
    first: dict[str, int] = {}
    for link, name in enumerate(names):
        first.setdefault(name, link)
    kept = list(first.values())
    spelled = {_folded(name): name for name in first}
    out_names, out_parents, links = [], [], list(kept)
    for link in kept:
        parent = parents[link]
        if parent is not None and parent not in first:
            parent = spelled.get(_folded(parent), parent)
        out_names.append(names[link])
        out_parents.append(parent)
    known = set(out_names)
    for link, parent in zip(kept, list(out_parents), strict=True):
        if parent is not None and parent not in known:
            known.add(parent)
            out_names.append(parent)
            out_parents.append(None)
            links.append(link)
    where = form.where
    labels = {_clean(key): _clean(label) for key, label in form.labels.items()}
    return replace(form, names=out_names, parents=out_parents, where=lambda i: where(links[i]), labels=labels)


def diff(before: Form, after: Form, source: str, out: str) -> list[str]:
    """A unified diff between two forms as tables: rows under the level names, or ``name,parent``."""
    if isinstance(before, Links) and isinstance(after, Rows):
        before = as_rows(before)
    return list(difflib.unified_diff(_lines(before), _lines(after), source, out, lineterm="", n=1))


def _lines(form: Form) -> list[str]:
    if isinstance(form, Rows):
        depth = max(map(len, form.rows), default=0)
        header = list(form.levels) if form.levels else [f"level{i}" for i in range(depth)]
        cells: Lines = [header, *([*row, *[""] * (len(header) - len(row))] for row in form.rows)]
    else:
        cells = [("name", "parent"), *((str(n), str(p or "")) for n, p in zip(form.names, form.parents, strict=True))]
    lines = []
    for row in cells:
        text = io.StringIO()
        csv.writer(text, lineterminator="").writerow(row)
        lines.append(text.getvalue().replace("\n", "\\n"))
    return lines
