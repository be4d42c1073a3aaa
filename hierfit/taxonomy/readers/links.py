"""A link for each node: child and parent in two columns, or records that name their parent or their children."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, Where
from hierfit.taxonomy.readers import columns
from hierfit.taxonomy.readers.columns import ACCEPTED, CHILDREN, ID_PATH, IDS, NAMES, PARENT, STATUS, SUPER, word
from hierfit.taxonomy.readers.given import Claim, Links, Reading, Score, problem, remark
from hierfit.taxonomy.readers.indices import WNID, id_names
from hierfit.taxonomy.readers.rows import is_chained
from hierfit.taxonomy.readers.source import Source, read_text
from hierfit.taxonomy.readers.table import Table, lines_of

Order = Literal["child-parent", "parent-child"]
Pair = tuple[str, str | None]

_MEANING = {"child-parent": "the child on the left", "parent-child": "the parent on the left"}
_NO_PARENT = ("#", "0", "-1", "null", "NULL", "none", "None", "nan", "NaN", "NA", "N/A", "n/a", "-")
_SYNONYM = re.compile(r"synonym|misapplied|invalid|not accepted|unaccepted", re.IGNORECASE)
_AGAINST = "a parent that no row is about"


def claims(table: Table, source: Source, options: Reading) -> Iterator[Claim]:
    """What a table of at least two columns can be, if it links nodes."""
    if table.header is not None and (found := _by_words(table, source, options)):
        yield found
    elif table.what.endswith("NCBI's dumps"):
        yield _ncbi(table, source, options)
    elif table.unit != "record":
        yield from _pairs(table, source, options)


# Columns that say what they are --------------------------------------------------------------------------------------


def _by_words(table: Table, source: Source, options: Reading) -> Claim | None:
    words = [word(cell) for cell in table.header or ()]
    name = columns.find(words, NAMES)
    ids = [words.index(known) for known in IDS if known in words]
    parent = columns.find(words, PARENT)
    if (
        parent is not None
        and words[parent] in ("pid", "parents", *SUPER)
        and len(words) < 3
        and not ids
        and name is None
    ):
        return None
    if (
        parent is not None
        and (child := _child_of(table, parent, [*ids, *([] if name is None else [name])])) is not None
    ):
        label = next(
            (c for c in (words.index(n) for n in (*NAMES, "description") if n in words) if c not in (child, parent)),
            None,
        )
        if words[parent] not in SUPER or _chained(table, child, parent):
            label = label if child in ids else None
            score = Score.CERTAIN if words[parent] not in SUPER or label is None else Score.LIKELY
            return _claim(
                table, score, (child, parent, label), lambda: _read(table, child, parent, label, source, options)
            )
    path = columns.find(words, ID_PATH)
    if path is not None and ids:
        shown = (ids[0], path, name)
        return _claim(table, Score.CERTAIN, shown, lambda: _read(table, ids[0], path, name, source, options, "/"))
    children = columns.find(words, CHILDREN)
    if children is not None and (ids or name is not None) and children != name:
        key = _named_in(table, children, [*ids, *([] if name is None else [name])])
        if key is not None:
            label = name if name not in (key, children) else None
            return _claim(
                table, Score.CERTAIN, (key, children, label), lambda: _from_children(table, key, children, label)
            )
    return None


def _claim(table: Table, score: Score, shown: Sequence[int | None], read: Any) -> Claim:
    what = "the columns" if table.unit != "record" else "the keys"
    keys = ", ".join((table.header or ())[c] for c in shown if c is not None)
    return Claim("child-parent", score, f"{table.what} with {what} {keys}", _AGAINST, _MEANING["child-parent"], read)


def _child_of(table: Table, parent: int, candidates: Sequence[int]) -> int | None:
    """The column that parents are given in: of ids and names the one that most parents stand in."""
    above = {entry for cell in table.column(parent) for entry in _entries(cell)}
    best, most = None, -1
    for column in dict.fromkeys(c for c in candidates if c != parent):
        cells = {cell for cell in table.column(column) if isinstance(cell, str)}
        if len(above & cells) > most and any(cells):
            best, most = column, len(above & cells)
    return best


def _named_in(table: Table, children: int, candidates: Sequence[int]) -> int | None:
    """The column that lists of children speak of; None where there are no lists of texts."""
    lists = [cell for cell in table.column(children) if isinstance(cell, tuple)]
    entries = {entry for cell in lists for entry in cell if isinstance(entry, str)}
    if not entries:
        return None
    known = {c: len(entries & {cell for cell in table.column(c) if isinstance(cell, str)}) for c in candidates}
    best = max(known, key=known.__getitem__)
    return best if 2 * known[best] >= len(entries) else None


def _chained(table: Table, child: int, parent: int) -> bool:
    """Whether some parents have a row of their own, other than the rows that name themselves."""
    names = {cell for cell in table.column(child) if isinstance(cell, str)}
    pairs = zip(table.column(child), table.column(parent), strict=True)
    return any(above != name and above in names for name, above in pairs)


def _entries(cell: Any) -> tuple[str, ...]:
    return cell if isinstance(cell, tuple) else (cell,) if cell else ()


def _read(
    table: Table, child: int, parent: int, label: int | None, source: Source, options: Reading, joint: str = ""
) -> Links:
    """The links of a table; a name that is only ever a parent is a root, unless roots have rows of their own.

    Rows of synonyms are left out: those that name another row as the accepted one, or whose status says so.
    """
    words = [word(cell) for cell in table.header or ()]
    accepted, status = columns.find(words, ACCEPTED), columns.find(words, STATUS)
    width = len(table.header or ())
    findings: list[Finding] = []
    pairs: list[Pair] = []
    kept: list[int] = []
    synonyms: list[str] = []
    for number, row in enumerate(table.rows):
        name = row[child] if child < len(row) else ""
        if not name or isinstance(name, tuple) or (len(row) > width and any(row[width:])):
            text = f"{len(row)} cells, expected a child and its parent: {_shown(row)}"
            findings.append(problem("row", text, table.where(number)))
        elif (accepted is not None or status is not None) and _is_synonym(row, name, accepted, status):
            synonyms.append(row[label] if label is not None and label < len(row) else name)
        else:
            above = row[parent] if parent < len(row) else ""
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
    closed = any(not above for _, above in pairs)
    return links_of(pairs, lambda link: table.where(kept[link]), closed, labels, findings)


def _is_synonym(row: Sequence[Any], name: str, accepted: int | None, status: int | None) -> bool:
    """Whether a row names another as the accepted one, or its status says so."""
    other = row[accepted] if accepted is not None and accepted < len(row) else ""
    return other not in ("", name) or (
        status is not None and status < len(row) and _SYNONYM.search(str(row[status])) is not None
    )


def _from_children(table: Table, key: int, children: int, label: int | None) -> Links:
    """The links of records that list their children; one that is listed and has no record is a leaf of that name."""
    parents: dict[str, list[str]] = {}
    where: dict[str, int] = {}
    for number, row in enumerate(table.rows):
        for entry in _entries(row[children]) if children < len(row) else ():
            parents.setdefault(str(entry), []).append(row[key])
            where.setdefault(str(entry), number)
    names = [row[key] for row in table.rows if key < len(row) and row[key]]
    place = {name: number for number, name in enumerate(names)}
    pairs: list[Pair] = []
    for name in [*names, *(entry for entry in parents if entry not in place)]:
        pairs += [(name, above) for above in parents.get(name, [])] or [(name, None)]
    labels = {row[key]: row[label] for row in table.rows if label is not None and label < len(row) and row[label]}
    at = [place.get(name, where.get(name, 0)) for name, _ in pairs]
    return links_of(pairs, lambda link: table.where(at[link]), True, labels)


# Two columns without a word ------------------------------------------------------------------------------------------


def _pairs(table: Table, source: Source, options: Reading) -> Iterator[Claim]:
    if options.columns:
        if len(options.columns) == 2 and options.format in ("child-parent", "parent-child"):
            parent, child = (column - 1 for column in options.columns)
            yield Claim(options.format, Score.CERTAIN, "columns of parent and child", _AGAINST, "",
                        lambda: _read(table, child, parent, None, source, options))  # fmt: skip
        return
    wide = table.width != 2
    rows = [(row[0], row[1]) for row in table.rows if len(row) == 2]
    order, why = order_of(rows)
    ids = bool(rows) and all(WNID.fullmatch(cell) for row in rows for cell in row)
    chained = is_chained(rows) and (table.what != "two words in each line" or ids or _are_links(rows))
    sure = chained and not wide and table.header is None
    for form in ("child-parent", "parent-child"):
        score = Score.LIKELY if sure and order == form else Score.POSSIBLE
        what = f"{'WordNet ids, ' if ids else ''}{table.what}, links with {_MEANING[form]}: {why}"
        yield Claim(form, score, what, _AGAINST, _MEANING[form], partial(_of_columns, table, form, source, options))


def _of_columns(table: Table, form: Order, source: Source, options: Reading) -> Links:
    child, parent = (0, 1) if form == "child-parent" else (1, 0)
    findings: list[Finding] = []
    pairs: list[Pair] = []
    kept: list[int] = []
    for number, row in enumerate(table.rows):
        if len(row) <= child or (len(row) <= parent and table.header is None) or any(row[2:]) or not row[child]:
            text = f"{len(row)} cells, expected a child and its parent: {_shown(row)}"
            findings.append(problem("row", text, table.where(number)))
        else:
            pairs.append((row[child], row[parent] if parent < len(row) else ""))
            kept.append(number)
    labels = id_names(options, source, [entry for pair in pairs for entry in pair if entry], findings)
    closed = table.header is not None and any(not above for _, above in pairs)
    return links_of(pairs, lambda link: table.where(kept[link]), closed, labels, findings)


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
    mark = _root_mark(pairs)
    closed = closed or mark is not None
    parents = [above if above and above not in (child, mark) else None for child, above in pairs]
    places = list(range(len(pairs)))
    if not closed:
        known = set(names)
        for number, above in enumerate(parents):
            if above and above not in known:
                known.add(above)
                names.append(above)
                places.append(number)
        parents += [None] * (len(names) - len(parents))
    return Links(names, parents, lambda node: where(places[node]), labels or {}, findings=findings)


def _root_mark(pairs: Iterable[Pair]) -> str | None:
    """What stands in the place of a root's parent, where it is no node, and no root has an empty one."""
    if any(not above for _, above in pairs):
        return None
    marks = {above for _, above in pairs if above in _NO_PARENT}
    marks.difference_update(child for child, _ in pairs)
    return marks.pop() if len(marks) == 1 else None


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


def _are_links(pairs: Iterable[tuple[str, str]]) -> bool:
    """Whether pairs of words are links, and not names of two words: most parents are somebody's child."""
    left, right = ({pair[side] for pair in pairs} for side in (0, 1))
    return 2 * len(left & right) >= min(len(left), len(right))


# NCBI ----------------------------------------------------------------------------------------------------------------


def _ncbi(table: Table, source: Source, options: Reading) -> Claim:
    """``nodes.dmp``: id, parent, rank; the names stand in ``names.dmp`` beside it."""
    file = Path(options.names[0]).expanduser() if options.names else source.path.with_name("names.dmp")

    def read() -> Links:
        if source.path == file or not file.is_file():
            hint = "nodes.dmp holds the links and names.dmp the names: put both into one folder and give nodes.dmp."
            raise UserError(f"{source.path}: there is no {file.name} with the names beside it", hint=hint)
        labels: dict[str, str] = {}
        for line in lines_of(read_text(file)):
            cells = line.split("\t|\t")
            if len(cells) > 3 and cells[3].startswith("scientific name"):
                labels[cells[0].strip()] = cells[1].strip()
        pairs: list[Pair] = [(row[0], row[1]) for row in table.rows if len(row) > 1]
        return links_of(pairs, table.where, True, {key: labels[key] for key, _ in pairs if key in labels})

    why = f"NCBI's dump of nodes with its {file.name}"
    return Claim("child-parent", Score.CERTAIN, why, _AGAINST, _MEANING["child-parent"], read)


def _shown(row: Sequence[object]) -> str:
    return ", ".join(map(repr, row[:4])) + (", …" if len(row) > 4 else "")
