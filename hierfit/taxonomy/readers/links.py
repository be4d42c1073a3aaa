"""A link for each node: child and parent in two columns, or records that name their parent or their children."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, Where, problem, remark
from hierfit.taxonomy.readers import columns
from hierfit.taxonomy.readers.columns import ACCEPTED, CHILDREN, ID_PATH, IDS, NAMES, PARENT, STATUS, SUPER
from hierfit.taxonomy.readers.given import Claim, Links, Reading, Score
from hierfit.taxonomy.readers.indices import WNID, id_names
from hierfit.taxonomy.readers.rows import is_chained
from hierfit.taxonomy.readers.source import Source, read_text
from hierfit.taxonomy.readers.table import Table, lines_of

Order = Literal["child-parent", "parent-child"]
Pair = tuple[str, str | None]

_NO_PARENT = ("#", "0", "-1", "null", "NULL", "none", "None", "nan", "NaN", "NA", "N/A", "n/a", "-")
_SYNONYM = re.compile(r"synonym|misapplied|invalid|not accepted|unaccepted", re.IGNORECASE)


def claims(table: Table, source: Source, options: Reading) -> Iterator[Claim]:
    """What a table of at least two columns can be, if it links nodes."""
    if table.header is not None and (found := _by_words(table, source, options)):
        yield found
    elif table.what.endswith("NCBI's dumps"):
        yield _ncbi(table, source, options)
    elif not table.of_records:
        yield from _pairs(table, source, options)


# Columns that say what they are --------------------------------------------------------------------------------------


def _by_words(table: Table, source: Source, options: Reading) -> Claim | None:
    words = table.words
    ids = [words.index(known) for known in IDS if known in words]
    name = columns.find(words, NAMES)
    named = [*ids, *([] if name is None else [name])]
    parent, path = columns.find(words, PARENT), columns.find(words, ID_PATH)
    children = columns.find(words, CHILDREN)

    def claim(score: Score, shown: Sequence[int | None], read: Callable[[], Links]) -> Claim:
        keys = ", ".join(table.name(column) for column in shown if column is not None)
        what = f"{table.what} with the {'keys' if table.of_records else 'columns'} {keys}"
        return Claim("child-parent", score, what, read)

    if parent is not None:
        if words[parent] in ("pid", "parents", *SUPER) and len(words) < 3 and not named:
            return None
        child = _child_of(table, parent, named)
        labels = (words.index(known) for known in (*NAMES, "description") if known in words)
        label = next((column for column in labels if column not in (child, parent)), None)
        plain = words[parent] not in SUPER
        if child is not None and (plain or _chained(table, child, parent)):
            label = label if child in ids else None
            score = Score.CERTAIN if plain or label is None else Score.LIKELY
            return claim(score, (child, parent, label), partial(_read, table, child, parent, label, source, options))
    if path is not None and ids:
        read = partial(_read, table, ids[0], path, name, source, options, "/")
        return claim(Score.CERTAIN, (ids[0], path, name), read)
    if children is not None and children != name and (key := _named_in(table, children, named)) is not None:
        label = name if name not in (key, children) else None
        return claim(Score.CERTAIN, (key, children, label), partial(_from_children, table, key, children, label))
    return None


def _texts(table: Table, column: int) -> set[str]:
    return {cell for cell in table.column(column) if isinstance(cell, str)}


def _entries(cell: Any) -> tuple[str, ...]:
    return cell if isinstance(cell, tuple) else (cell,) if cell else ()


def _child_of(table: Table, parent: int, candidates: Sequence[int]) -> int | None:
    """The column that parents are given in: of ids and names the one that most parents stand in."""
    filled = [
        c for c in dict.fromkeys(candidates) if c != parent and any(isinstance(v, str) and v for v in table.column(c))
    ]
    if len(filled) < 2:
        return next(iter(filled), None)
    above = {entry for cell in table.column(parent) for entry in _entries(cell)}
    return max(filled, key=lambda column: len(above & _texts(table, column)))


def _named_in(table: Table, children: int, candidates: Sequence[int]) -> int | None:
    """The column that lists of children speak of; None where there are no lists of texts."""
    lists = [cell for cell in table.column(children) if isinstance(cell, tuple)]
    entries = {entry for cell in lists for entry in cell if isinstance(entry, str)}
    known = {c: len(entries & _texts(table, c)) for c in candidates}
    best = max(known, key=known.__getitem__, default=None)
    return best if best is not None and entries and 2 * known[best] >= len(entries) else None


def _chained(table: Table, child: int, parent: int) -> bool:
    """Whether some parents have a row of their own, other than the rows that name themselves."""
    names = _texts(table, child)
    pairs = zip(table.column(child), table.column(parent), strict=True)
    return any(above != name and above in names for name, above in pairs)


def _read(
    table: Table, child: int, parent: int, label: int | None, source: Source, options: Reading, joint: str = "",
    pairs_only: bool = False,
) -> Links:  # fmt: skip
    """The links of a table; a name that is only ever a parent is a root, unless roots have rows of their own.

    Rows of synonyms are left out: those that name another row as the accepted one, or whose status says so.
    """
    accepted, status = columns.find(table.words, ACCEPTED), columns.find(table.words, STATUS)
    width = 2 if pairs_only else table.width if table.header is None else len(table.header)
    findings: list[Finding] = []
    pairs: list[Pair] = []
    kept: list[int] = []
    synonyms: list[str] = []

    cells = zip(table.rows, table.column(child), table.column(parent), strict=True)
    for number, (row, name, above) in enumerate(cells):
        short = pairs_only and table.header is None and len(row) < 2
        if not name or isinstance(name, tuple) or short or (len(row) > width and any(row[width:])):
            shown = ", ".join(map(repr, row[:4])) + (", …" if len(row) > 4 else "")
            text = f"{len(row)} cells, expected a child and its parent: {shown}"
            findings.append(problem("row", text, table.where(number)))
        elif _is_synonym(row, name, accepted, status):
            synonyms.append(row[label] if label is not None and label < len(row) else name)
        else:
            for entry in above if isinstance(above, tuple) and above else (above or None,):
                pairs.append((name, entry.rpartition(joint)[2] if joint and entry else entry))
                kept.append(number)
    if synonyms:
        text = f"{len(synonyms)} rows are synonyms of another and no classes: {', '.join(synonyms[:4])}"
        findings.append(remark("synonym", text + (", …" if len(synonyms) > 4 else "")))
    labels = id_names(options, source, [entry for pair in pairs for entry in pair if entry], findings)
    if label is not None and not labels:
        rows = (table.rows[i] for i in kept)
        labels = {row[child]: row[label] for row in rows if len(row) > label and row[label]}
    closed = table.header is not None and any(not above for _, above in pairs)
    return links_of(pairs, lambda link: table.where(kept[link]), closed, labels, findings)


def _is_synonym(row: Sequence[Any], name: str, accepted: int | None, status: int | None) -> bool:
    other = row[accepted] if accepted is not None and accepted < len(row) else ""
    return other not in ("", name) or (
        status is not None and status < len(row) and _SYNONYM.search(str(row[status])) is not None
    )


def _from_children(table: Table, key: int, children: int, label: int | None) -> Links:
    """The links of records that list their children; one that is listed and has no record is a leaf of that name."""
    parents: dict[str, list[str]] = {}
    where: dict[str, int] = {}
    for number, (name, below) in enumerate(table.paths([key, children])):
        for entry in _entries(below):
            parents.setdefault(str(entry), []).append(name)
            where.setdefault(str(entry), number)
    names = [name for name in table.column(key) if name]
    place = {name: number for number, name in enumerate(names)}
    pairs: list[Pair] = []
    for name in [*names, *(entry for entry in parents if entry not in place)]:
        pairs += [(name, above) for above in parents.get(name, [])] or [(name, None)]
    labels = {name: shown for name, shown in table.paths([key, label]) if shown} if label is not None else {}
    at = [place.get(name, where.get(name, 0)) for name, _ in pairs]
    return links_of(pairs, lambda link: table.where(at[link]), True, labels)


# Two columns without a word ------------------------------------------------------------------------------------------


def _pairs(table: Table, source: Source, options: Reading) -> Iterator[Claim]:
    if options.columns:
        if len(options.columns) == 2 and options.format in ("child-parent", "parent-child"):
            parent, child = (column - 1 for column in options.columns)
            yield Claim(options.format, Score.CERTAIN, "columns of parent and child",
                        lambda: _read(table, child, parent, None, source, options))  # fmt: skip
        return
    rows = [(row[0], row[1]) for row in table.rows if len(row) == 2]
    order, why = order_of(rows)
    left, right = ({pair[side] for pair in rows} for side in (0, 1))
    ids = bool(rows) and all(map(WNID.fullmatch, left | right))
    # Pairs of words are links, and not names of two words, where most parents are somebody's child.
    linked = table.what != "two words in each line" or ids or 2 * len(left & right) >= min(len(left), len(right))
    sure = table.width == 2 and table.header is None and linked and is_chained(rows)
    ways: tuple[tuple[Order, str], ...] = (("child-parent", "child"), ("parent-child", "parent"))
    for form, first in ways:
        score = Score.LIKELY if sure and order == form else Score.POSSIBLE
        what = f"{'WordNet ids, ' if ids else ''}{table.what}, links with the {first} on the left: {why}"
        child, parent = (0, 1) if form == "child-parent" else (1, 0)
        read = partial(_read, table, child, parent, None, source, options, pairs_only=True)
        yield Claim(form, score, what, read)


def links_of(
    pairs: Sequence[Pair],
    where: Where,
    closed: bool,
    labels: dict[str, str] | None = None,
    findings: Sequence[Finding] = (),
) -> Links:
    """Links out of (child, parent) pairs.

    Args:
        pairs: Names; a parent that is empty, or the child itself, or a mark such as ``#`` or 0 that is nobody's name,
            says that it is a root.
        where: Place of a pair.
        closed: Whether every node has its own pair. If not, names that are only parents are roots.
        labels: What ids mean.
        findings: Made before.
    """
    names = [child for child, _ in pairs]
    # What stands in the place of a root's parent, where it is no node, and no root has an empty one.
    marks = {above for _, above in pairs if not above or above in _NO_PARENT}
    marks = marks.difference(names) if all(marks) else set()
    mark = marks.pop() if len(marks) == 1 else None
    parents = [above if above and above not in (child, mark) else None for child, above in pairs]
    if closed or mark is not None:
        return Links(names, parents, where, labels or {}, findings=findings)
    known, places = set(names), list(range(len(pairs)))
    for number, above in enumerate(parents):
        if above and above not in known:
            known.add(above)
            names.append(above)
            places.append(number)
    parents += [None] * (len(names) - len(parents))
    return Links(names, parents, lambda node: where(places[node]), labels or {}, findings=findings)


def order_of(pairs: Iterable[tuple[str, str]]) -> tuple[Order | None, str]:
    """Which of two columns is the child's: each child has one parent, and few nodes are roots."""
    partners: tuple[dict[str, set[str]], dict[str, set[str]]] = ({}, {})
    for left, right in pairs:
        if left != right:
            partners[0].setdefault(left, set()).add(right)
            partners[1].setdefault(right, set()).add(left)
    several = [sum(len(others) > 1 for others in side.values()) for side in partners]
    only = [len(side.keys() - other.keys()) for side, other in (partners, partners[::-1])]
    if several[0] * 2 <= several[1] and several[0] < several[1] and only[1] <= only[0]:
        return "child-parent", f"{several[0]} names on the left stand beside several others, {several[1]} on the right"
    if several[1] * 2 <= several[0] and several[1] < several[0] and only[0] <= only[1]:
        return "parent-child", f"{several[1]} names on the right stand beside several others, {several[0]} on the left"
    return None, f"{several[0]} names on the left and {several[1]} on the right stand beside several others"


# NCBI ----------------------------------------------------------------------------------------------------------------


def _ncbi(table: Table, source: Source, options: Reading) -> Claim:
    """``nodes.dmp``: id, parent, rank; the names stand in ``names.dmp`` beside it."""
    file = Path(options.names[0]).expanduser() if options.names else source.path.with_name("names.dmp")

    def read() -> Links:
        if source.path == file or not file.is_file():
            hint = "nodes.dmp holds the links and names.dmp the names: put both into one folder and give nodes.dmp."
            raise UserError(f"{source.path}: there is no {file.name} with the names beside it", hint=hint)
        pairs: list[Pair] = [(row[0], row[1]) for row in table.rows if len(row) > 1]
        known = {key for key, _ in pairs}
        cells = (line.split("\t|\t") for line in lines_of(read_text(file)))
        labels = {
            row[0].strip(): row[1].strip() for row in cells if len(row) > 3 and row[3].startswith("scientific name")
        }
        return links_of(pairs, table.where, True, {key: labels[key] for key in known & labels.keys()})

    return Claim("child-parent", Score.CERTAIN, f"NCBI's dump of nodes with its {file.name}", read)
