"""A link for each node: child and parent in two columns, or records that name their parent or their children."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, Where, problem, remark
from hierfit.taxonomy.readers import columns
from hierfit.taxonomy.readers.given import Claim, Links, Reading, Score
from hierfit.taxonomy.readers.indices import WNID, id_names
from hierfit.taxonomy.readers.rows import is_chained
from hierfit.taxonomy.readers.source import Source, read_text
from hierfit.taxonomy.readers.table import SAMPLE, Table, lines_of

Order = Literal["child-parent", "parent-child"]

_NO_PARENT = frozenset(
    ("", "#", "0", "-1", "null", "NULL", "none", "None", "nan", "NaN", "NA", "N/A", "n/a", "-", "owl:Thing",
     "http://www.w3.org/2002/07/owl#Thing")
)  # fmt: skip
_SYNONYM = re.compile(r"synonym|misapplied|invalid|not accepted|unaccepted", re.IGNORECASE)


def claims(table: Table, source: Source, options: Reading) -> Iterator[Claim]:
    """What a table of at least two columns can be, if it links nodes."""
    if table.header is not None and (found := _by_words(table, source, options)):
        yield found
    elif table.what.endswith("tabs and bars") and table.header is None:
        yield _ncbi(table, source, options)
    elif not table.of_records:
        yield from _pairs(table, source, options)


# Columns that say what they are --------------------------------------------------------------------------------------


def _by_words(table: Table, source: Source, options: Reading) -> Claim | None:
    words = table.words
    name = columns.name_column(words)
    named = [*(words.index(known) for known in columns.IDS if known in words), *([] if name is None else [name])]
    parent, path = columns.parent_column(words), columns.find(words, columns.ID_PATH)
    children = columns.find(words, columns.CHILDREN)

    def claim(score: Score, shown: Sequence[int | None], read: Callable[[], Links]) -> Claim:
        keys = ", ".join(table.name(column) for column in shown if column is not None)
        what = f"{table.what} with the {'keys' if table.of_records else 'columns'} {keys}"
        return Claim("child-parent", score, what, read)

    if parent is not None:
        plain = words[parent] not in columns.SUPER
        if (not plain or words[parent] in ("pid", "parents")) and len(words) < 3 and not named:
            return None
        child = _child_of(table, parent, named)
        if child is not None and not plain:  # some parents have to have a row of their own
            names, pairs = _texts(table, child), table.paths([child, parent])
            child = child if any(up != below and up in names for below, up in pairs) else None
        if child is not None:
            label = None
            if name is None or words[child] not in columns.NAMES:
                shown = [columns.name_column(words), columns.find(words, ("description",))]
                label = next((column for column in shown if column not in (None, child, parent)), None)
            score = Score.CERTAIN if plain or label is None else Score.LIKELY
            return claim(score, (child, parent, label), partial(_read, table, child, parent, label, source, options))
    if path is not None and (ids := [column for column in named if column != name]):
        read = partial(_read, table, ids[0], path, name, source, options, "/")
        return claim(Score.CERTAIN, (ids[0], path, name), read)
    if children is not None and children != name:
        # The column that lists of children speak of.
        entries = {entry for cell in table.column(children) if isinstance(cell, tuple) for entry in cell}
        known = {column: len(entries & _texts(table, column)) for column in named}
        key = max(known, key=known.__getitem__, default=None)
        if key is not None and entries and 2 * known[key] >= len(entries):
            label = name if name not in (key, children) else None
            return claim(Score.CERTAIN, (key, children, label), partial(_from_children, table, key, children, label))
    return None


def _texts(table: Table, column: int) -> set[str]:
    return {cell for cell in table.column(column) if isinstance(cell, str) and cell}


def _entries(cell: Any) -> tuple[str, ...]:
    return cell if isinstance(cell, tuple) else (cell,) if cell else ()


def _child_of(table: Table, parent: int, named: Sequence[int]) -> int | None:
    """The column that parents are given in: of ids and names the one that most parents stand in, else of all."""
    above = {entry for cell in table.column(parent) for entry in _entries(cell)}
    texts = {c: found for c in range(len(table.header or ())) if c != parent and (found := _texts(table, c))}
    stand = {c: len(above & found) for c, found in texts.items()}
    likely = [c for c in dict.fromkeys(named) if c in texts]
    best = max(likely, key=stand.__getitem__, default=None)
    if (best is None or not stand[best]) and max(stand.values(), default=0):
        return max(stand, key=stand.__getitem__)
    return best


def _read(
    table: Table, child: int, parent: int, label: int | None, source: Source, options: Reading, joint: str = "",
    pairs_only: bool = False,
) -> Links:  # fmt: skip
    """The links of a table; a name that is only ever a parent is a root, unless roots have rows of their own.

    Rows of synonyms are left out: those that name another row as the accepted one, or whose status says so.
    """
    width = 2 if pairs_only else table.width if table.header is None else len(table.header)
    shortest = 2 if pairs_only and table.header is None else 0
    names, above = table.column(child), table.column(parent)
    findings: list[Finding] = []
    left_out = _synonyms(table, names, label, findings)
    for number, (row, name) in enumerate(zip(table.rows, names, strict=True)):
        wrong = not name or name.__class__ is tuple or len(row) < shortest or (len(row) > width and any(row[width:]))
        if wrong and number not in left_out:
            shown = ", ".join(map(repr, row[:4])) + (", …" if len(row) > 4 else "")
            text = f"{len(row)} cells, expected a child and its parent: {shown}"
            findings.append(problem("row", text, table.where(number)))
            left_out.add(number)
    kept: Sequence[int] = range(len(names))
    if left_out or joint or any("|" in cell or cell.__class__ is tuple for cell in above):
        known = set(names)
        pairs = [(i, names[i], entry) for i in kept if i not in left_out for entry in _parents(above[i], known, joint)]
        kept, names, above = [i for i, _, _ in pairs], [name for _, name, _ in pairs], [entry for _, _, entry in pairs]
    labels = id_names(options, source, (names, above), findings)
    if label is not None and not labels:
        rows = map(table.rows.__getitem__, kept)
        labels = {row[child]: _entries(row[label])[0] for row in rows if len(row) > label and row[label]}
    closed, where = table.header is not None and "" in above, table.where
    return links_of(names, above, lambda link: where(kept[link]), closed, labels, findings)


def _synonyms(table: Table, names: Sequence[Any], label: int | None, findings: list[Finding]) -> set[int]:
    accepted, status = columns.find(table.words, columns.ACCEPTED), columns.find(table.words, columns.STATUS)
    found = set()
    if accepted is not None:
        found |= {i for i, other in enumerate(table.column(accepted)) if other not in ("", names[i])}
    if status is not None:
        found |= {i for i, cell in enumerate(table.column(status)) if _SYNONYM.search(str(cell))}
    if found:
        shown = names if label is None else [a or b for a, b in zip(table.column(label), names, strict=True)]
        listed = ", ".join(shown[i] for i in sorted(found)[:4]) + (", …" if len(found) > 4 else "")
        findings.append(remark("synonym", f"{len(found)} rows are synonyms of another and no classes: {listed}"))
    return found


def _parents(cell: Any, known: set[str], joint: str) -> Sequence[str]:
    """The parents in a cell: a list, ids joined by bars, or the last of a path of ids."""
    if isinstance(cell, tuple):
        return cell or ("",)
    if joint:
        return (cell.rpartition(joint)[2],)
    parts = [part.strip() for part in cell.split("|")] if "|" in cell and cell not in known else []
    return parts if parts and known.issuperset(parts) else (cell,)


def _from_children(table: Table, key: int, children: int, label: int | None) -> Links:
    """The links of records that list their children; one that is listed and has no record is a leaf of that name."""
    parents: dict[str, list[str]] = {}
    where: dict[str, int] = {}
    for number, (name, below) in enumerate(table.paths([key, children])):
        for entry in _entries(below):
            parents.setdefault(str(entry), []).append(name)
            where.setdefault(str(entry), number)
    names = [name for name in table.column(key) if name]
    where |= {name: number for number, name in enumerate(names)}
    pairs = [(name, above) for name in dict.fromkeys([*names, *parents]) for above in parents.get(name, [""])]
    labels = {name: shown for name, shown in table.paths([key, label]) if shown} if label is not None else {}
    listed, above, place = [name for name, _ in pairs], [above for _, above in pairs], table.where
    return links_of(listed, above, lambda link: place(where[listed[link]]), True, labels)


# Two columns without a word ------------------------------------------------------------------------------------------


def _pairs(table: Table, source: Source, options: Reading) -> Iterator[Claim]:
    if options.columns:
        if len(options.columns) == 2 and options.format in ("child-parent", "parent-child"):
            parent, child = (column - 1 for column in options.columns)
            yield Claim(options.format, Score.CERTAIN, "columns of parent and child",
                        lambda: _read(table, child, parent, None, source, options))  # fmt: skip
        return
    rows = [row for row in table.rows if len(row) == 2]
    order, why = order_of(rows)
    ids = bool(rows) and all(WNID.fullmatch(cell) for row in rows[:SAMPLE] for cell in row)
    sure = order is not None and table.width == 2 and table.header is None and is_chained(rows)
    if sure and table.what == "two words in each line" and not ids:
        # They are links, and not names of two words, where most parents are somebody's child.
        left, right = ({row[side] for row in rows} for side in (0, 1))
        sure = 2 * len(left & right) >= min(len(left), len(right))
    for form, first, child in (("child-parent", "child", 0), ("parent-child", "parent", 1)):
        score = Score.LIKELY if sure and order == form else Score.POSSIBLE
        what = f"{'WordNet ids, ' if ids else ''}{table.what}, links with the {first} on the left: {why}"
        read = partial(_read, table, child, 1 - child, None, source, options, pairs_only=True)
        yield Claim(form, score, what, read)  # type: ignore[arg-type]


def links_of(
    names: Sequence[str], parents: Sequence[str | None], where: Where, closed: bool,
    labels: dict[str, str] | None = None, findings: Sequence[Finding] = (),
) -> Links:  # fmt: skip
    """Links out of children and a parent of each.

    A parent that is empty, or the child itself, or a mark such as ``#`` or 0 that is nobody's name, says that it is a
    root. Unless every node has its own pair (`closed`), names that are only parents are roots.
    """
    above = dict.fromkeys(parents)
    # What stands in the place of a root's parent, where it is no node, and no root has an empty one.
    marks = [parent for parent in above if not parent or parent in _NO_PARENT]
    roots = {None, "", *(marks if len(marks) == 1 and marks[0] not in set(names) else ())}
    marked = len(roots) > 2
    if marked or not all(parents) or any(name == parent for name, parent in zip(names, parents, strict=True)):
        parents = [None if parent in roots or parent == name else parent
                   for name, parent in zip(names, parents, strict=True)]  # fmt: skip
    if not closed and not marked:
        known = set(names)
        if added := [parent for parent in above if parent and parent not in known and parent not in roots]:
            place: dict[str | None, int] = {}
            for i, parent in enumerate(parents):
                if parent not in known:
                    place.setdefault(parent, i)
            count, places = len(names), [place[name] for name in added]
            names, parents = [*names, *added], [*parents, *[None] * len(added)]
            return Links(names, parents, lambda i: where(i if i < count else places[i - count]), labels or {},
                         findings=findings)  # fmt: skip
    return Links(names, parents, where, labels or {}, findings=findings)


def order_of(pairs: Sequence[Sequence[str]]) -> tuple[Order | None, str]:
    """Which of two columns is the child's: each child has one parent, and few nodes are roots."""
    apart = [(pair[0], pair[1]) for pair in pairs if pair[0] != pair[1]]
    right, left = dict(apart), {b: a for a, b in apart}  # what stands beside a name of the other side
    several = (len({a for a, b in apart if right[a] != b}), len({b for a, b in apart if left[b] != a}))
    only = (len(right.keys() - left.keys()), len(left.keys() - right.keys()))
    sides: tuple[tuple[Order, str, str], ...] = (("child-parent", "left", "right"), ("parent-child", "right", "left"))
    for child, (order, side, other) in enumerate(sides):
        here, there = several[child], several[1 - child]
        if here * 2 <= there and here < there and only[1 - child] <= only[child]:
            return order, f"{here} names on the {side} stand beside several others, {there} on the {other}"
    return None, f"{several[0]} names on the left and {several[1]} on the right stand beside several others"


# NCBI ----------------------------------------------------------------------------------------------------------------


def _ncbi(table: Table, source: Source, options: Reading) -> Claim:
    """``nodes.dmp``: id, parent, rank; the names stand in ``names.dmp`` beside it."""
    file = Path(options.names[0]).expanduser() if options.names else source.path.with_name("names.dmp")

    def read() -> Links:
        if source.path == file or not file.is_file():
            hint = "nodes.dmp holds the links and names.dmp the names: put both into one folder and give nodes.dmp."
            raise UserError(f"{source.path}: there is no {file.name} with the names beside it", hint=hint)
        known = set(table.column(0))
        cells = (line.split("\t|\t") for line in lines_of(read_text(file)))
        labels = {row[0].strip(): row[1].strip() for row in cells
                  if len(row) > 3 and row[3].startswith("scientific name") and row[0].strip() in known}  # fmt: skip
        return links_of(table.column(0), table.column(1), table.where, True, labels)

    return Claim("child-parent", Score.CERTAIN, f"NCBI's dump of nodes with its {file.name}", read)
