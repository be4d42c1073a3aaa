"""A link for each node: child and parent in two columns, records that name their parent or children, edges."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.checks import Finding, Where, problem, remark
from hierfit.taxonomy.readers import columns
from hierfit.taxonomy.readers.given import Guess, Links, Reading
from hierfit.taxonomy.readers.indices import WNID, id_names
from hierfit.taxonomy.readers.rows import both_ways, is_chained, which_way
from hierfit.taxonomy.readers.source import Content, read_text
from hierfit.taxonomy.readers.table import SAMPLE, TABS_AND_BARS, TWO_WORDS, CellTable, lines_of

_NO_PARENT = frozenset(
    ("", "#", "0", "-1", "null", "NULL", "none", "None", "nan", "NaN", "NA", "N/A", "n/a", "-", "owl:Thing",
     "http://www.w3.org/2002/07/owl#Thing")
)  # fmt: skip
_SYNONYM = re.compile(r"synonym|misapplied|invalid|not accepted|unaccepted", re.IGNORECASE)


def of_links(table: CellTable, file: Content, options: Reading) -> Iterator[Guess]:
    """What a table of at least two columns can be, if it links nodes."""
    if table.header is not None and (found := _by_words(table, file, options)):
        yield found
    elif table.what == TABS_AND_BARS and table.header is None:
        why = "NCBI's dump of nodes with its names.dmp"
        yield Guess("child-parent", why, partial(_ncbi, table, file, options), True)
    elif options.columns:
        if len(options.columns) == 2 and options.format in ("child-parent", "parent-child"):
            parent, child = (column - 1 for column in options.columns)
            read = partial(links_of_columns, table, child, parent, None, file, options)
            yield Guess(options.format, "columns of parent and child", read, True)
    elif not table.of_records:
        yield from _of_pairs(table, file, options)


# Columns that say what they are --------------------------------------------------------------------------------------


def _by_words(table: CellTable, file: Content, options: Reading) -> Guess | None:
    words = table.words
    name, parent = columns.name_column(words), columns.parent_column(words)
    path, children = columns.first_known(words, columns.ID_PATH), columns.first_known(words, columns.CHILDREN)
    ids = [words.index(known) for known in columns.IDS if known in words and words.index(known) != name]
    named = ids if name is None else [*ids, name]

    def guess(shown: Sequence[int | None], read: Callable[[], Links], said: bool = True) -> Guess:
        keys = ", ".join(table.name(column) for column in shown if column is not None)
        what = f"{table.what} with the {'keys' if table.of_records else 'columns'} {keys}"
        return Guess("child-parent", what, read, said)

    if parent is not None and (child := _child_of(table, parent, named)) is not None:
        grouped, own = words[parent] in columns.SUPER, set(table.column(child))
        # COCO's supercategory is a link only where it has a record of its own.
        if not grouped or any(up != below and up in own for below, up in table.paths([child, parent])):
            shown = [] if child == name else [name, columns.first_known(words, ("description",))]
            label = next((column for column in shown if column not in (None, child, parent)), None)
            read = partial(links_of_columns, table, child, parent, label, file, options)
            return guess((child, parent, label), read, not grouped or label is None)
    if path is not None and ids:
        return guess((ids[0], path, name), partial(links_of_columns, table, ids[0], path, name, file, options, "/"))
    if children is not None and children != name:
        entries = {entry for cell in table.column(children) if isinstance(cell, tuple) for entry in cell}
        known = {column: len(entries.intersection(table.column(column))) for column in named}
        key = max(known, key=known.__getitem__, default=None)
        if key is not None and entries and 2 * known[key] >= len(entries):
            label = name if name != key else None
            return guess((key, children, label), partial(_from_children, table, key, children, label))
    return None


def _child_of(table: CellTable, parent: int, named: Sequence[int]) -> int | None:
    """The column that parents are given in: of ids and names the one that most parents stand in, else of all."""
    above = {entry for cell in table.column(parent) for entry in _entries(cell)}
    for group in (named, range(len(table.header or ()))):
        found = {column: len(above.intersection(table.column(column))) for column in group if column != parent}
        if found and max(found.values()):
            return max(found, key=found.__getitem__)
    return next((column for column in named if column != parent), None)


def _entries(cell: Any) -> tuple[str, ...]:
    return cell if isinstance(cell, tuple) else (cell,) if cell else ()


def links_of_columns(
    table: CellTable, child: int, parent: int, label: int | None, file: Content, options: Reading, joint: str = "",
    width: int = 0,
) -> Links:  # fmt: skip
    """The links of a table; a name that is only ever a parent is a root, unless roots have rows of their own.

    Rows of synonyms are left out: those that name another row as the accepted one, or whose status says so.

    Args:
        joint: Between the ids of a path, of which the last is the parent.
        width: Cells that a row must have, no more and, without a header, no less; 0 for those of the header.
    """
    longest = width or (table.width if table.header is None else len(table.header))
    shortest = width if table.header is None else 0
    names, above = table.column(child), table.column(parent)
    findings: list[Finding] = []
    left_out = _synonyms(table, names, label, findings)
    for number, (row, name) in enumerate(zip(table.rows, names, strict=True)):
        wrong = (
            not name or name.__class__ is tuple or len(row) < shortest or (len(row) > longest and any(row[longest:]))
        )
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
    labels = id_names(options, file, (names, above), findings)
    if label is not None and not labels:
        rows = map(table.rows.__getitem__, kept)
        labels = {row[child]: _entries(row[label])[0] for row in rows if len(row) > label and row[label]}
    closed, where = table.header is not None and "" in above, table.where
    return links_of(names, above, lambda link: where(kept[link]), closed, labels, findings)


def _synonyms(table: CellTable, names: Sequence[Any], label: int | None, findings: list[Finding]) -> set[int]:
    accepted, status = (columns.first_known(table.words, known) for known in (columns.ACCEPTED, columns.STATUS))
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


def _from_children(table: CellTable, key: int, children: int, label: int | None) -> Links:
    """The links of records that list their children; one that is listed and has no record is a leaf of that name."""
    where = {name: number for number, name in enumerate(table.column(key)) if name}
    edges = [(name, entry) for name, below in table.paths([key, children]) for entry in _entries(below)]
    for number, below in enumerate(table.column(children)):
        for entry in _entries(below):
            where.setdefault(entry, number)
    labels = {name: shown for name, shown in table.paths([key, label]) if shown} if label is not None else {}
    place = table.where
    return of_edges([*where], edges, lambda name, _: place(where[name]), labels)


# Two columns without a word ------------------------------------------------------------------------------------------


def _of_pairs(table: CellTable, file: Content, options: Reading) -> Iterator[Guess]:
    rows = [row for row in table.rows if len(row) == 2]
    way, why = which_way(rows)
    ids = bool(rows) and all(WNID.fullmatch(cell) for row in rows[:SAMPLE] for cell in row)
    left, right = ({row[side] for row in rows} for side in (0, 1))
    if table.width != 2 or table.header is not None or not is_chained(rows):
        way = 0
    elif table.what == TWO_WORDS and not ids and 2 * len(left & right) < min(len(left), len(right)):
        way = 0  # names of two words, where few parents are somebody's child

    def read(step: int) -> Links:
        child = 1 if step > 0 else 0
        return links_of_columns(table, child, 1 - child, None, file, options, width=2)

    what = f"{'WordNet ids, ' if ids else ''}{table.what}, links with the"
    texts = [f"{what} {first} on the left: {why}" for first in ("parent", "child")]
    yield from both_ways(("parent-child", "child-parent"), way, texts, read)


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


def of_edges(
    ids: Sequence[str], edges: Sequence[tuple[str, str]], place: Callable[[str, str | None], str],
    labels: dict[str, str], findings: Sequence[Finding] = (), levels: Sequence[str] | None = None,
) -> Links:  # fmt: skip
    """A graph's nodes, with edges from parent to child; or, where only that makes a tree, from child to parent."""
    above, below = ([edge[side] for edge in edges] for side in (0, 1))
    if len(set(above)) == len(above) and len(set(below)) < len(below):
        edges = [(parent, child) for child, parent in edges]
    parents: dict[str, list[str | None]] = {}
    for parent, child in edges:
        if parent != child:
            parents.setdefault(child, []).append(parent)
    links = [(name, parent) for name in ids for parent in parents.pop(name, [None])]
    names, parents_of = [name for name, _ in links], [parent for _, parent in links]
    return Links(names, parents_of, lambda link: place(names[link], parents_of[link]), labels, levels, findings)


def _ncbi(table: CellTable, file: Content, options: Reading) -> Links:
    """``nodes.dmp``: id, parent, rank; the names stand in ``names.dmp`` beside it."""
    names = Path(options.names[0]).expanduser() if options.names else file.path.with_name("names.dmp")
    if file.path == names or not names.is_file():
        hint = "nodes.dmp holds the links and names.dmp the names: put both into one folder and give nodes.dmp."
        raise UserError(f"{file.path}: there is no {names.name} with the names beside it", hint=hint)
    known = set(table.column(0))
    cells = (line.split("\t|\t") for line in lines_of(read_text(names)))
    labels = {row[0].strip(): row[1].strip() for row in cells
              if len(row) > 3 and row[3].startswith("scientific name") and row[0].strip() in known}  # fmt: skip
    return links_of(table.column(0), table.column(1), table.where, True, labels)
