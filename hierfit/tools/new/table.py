"""Tables of pictures: which column is what, found by what stands in it."""

from __future__ import annotations

import csv
import posixpath
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from hierfit.data.images import EXTENSIONS, is_file, leaves_root
from hierfit.data.layouts.manifest import read_rows
from hierfit.data.schema import nearest
from hierfit.errors import UserError
from hierfit.tools.new.found import SPLIT_NAMES, Found, Wishes, split_of, tested, tree_of

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt")
_LOOKED_AT = 200  # rows, to find out what a column holds
_DELIMITERS = (",", "\t", ";", "|")

Columns = dict[str, list[str]]


def tables_of(root: Path) -> dict[str, Path]:
    """The tables of a folder by split: ``{"": manifest.csv}``, or one a split beside or inside of its folder."""
    here = sorted(path for path in root.iterdir() if path.suffix.lower() in SUFFIXES and path.is_file())
    splits = {split: path for path in here if (split := SPLIT_NAMES.get(path.stem.casefold()))}
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        split, table = SPLIT_NAMES.get(folder.name.casefold()), _metadata(folder)
        if split and table:
            splits.setdefault(split, table)
    if "train" in splits:
        return splits
    known = [p for p in here if p.stem.casefold() in ("manifest", "metadata", "labels", "annotations", "data", "index")]
    usable = [path for path in (known or here) if _names_pictures(root, path)]
    if len(usable) > 1:
        raise UserError(
            f"{root} holds several tables that name pictures",
            [path.name for path in usable],
            "Name one: hierfit data new TABLE.",
        )
    return {"": usable[0]} if usable else {}


def from_tables(root: Path, tables: dict[str, Path], wishes: Wishes) -> Found:
    """Read the tables and find out their columns.

    Raises:
        UserError: No column holds paths of pictures, or none a label; or a column the user named is not there.
    """
    remarks: list[str] = []
    first = next(iter(tables.values()))
    delimiter, header = _form(first, root)
    columns = {split: _columns(path, delimiter, header) for split, path in tables.items()}
    together = {name: [cell for part in columns.values() for cell in part.get(name, ())] for name in _names(columns)}
    if not together or not any(together.values()):
        raise UserError(f"{first} has no rows")
    path, images = _path_column(root, first, next(iter(columns.values())), wishes)
    layout: dict[str, object] = {"name": "manifest"}
    split = None
    if "" in tables:
        layout["file"] = first.relative_to(root).as_posix()
        split = _split_column(together, path, wishes)
        if split is None:
            layout["draw"] = wishes.draw
            remarks.append(
                "No column tells the split; splits are drawn in each class, by a hash of each picture's path."
            )
        else:
            own = tested(split_of(list(dict.fromkeys(together[split]))), remarks)
            if meaning := {name: kind for kind, name in own.items() if name != kind}:
                layout["splits"] = meaning
            remarks.append(f"Column {split!r} is the split.")
    else:
        own = tested({kind: p.relative_to(root).as_posix() for kind, p in tables.items()}, remarks)
        layout["files"] = {kind: own[kind] for kind in ("train", "val", "test") if kind in own}
    if images != ".":
        layout["images"] = images
    if header:
        layout["columns"] = header
    layout["path"] = path
    remarks.append(f"Column {path!r} is the picture.")
    label, dropped = label_columns(together, {path, split}, wishes)
    layout["label"] = label if len(label) > 1 else label[0]
    if split is not None:
        layout["split"] = split
    if delimiter != ",":
        layout["delimiter"] = delimiter
    remarks.append(f"The label is {' > '.join(map(repr, label))}, coarse to fine.")
    if dropped:
        remarks.append(f"Columns not used: {', '.join(map(repr, dropped))}.")
    if wishes.taxonomy is None and _numbers(together[label[-1]]):
        remarks.append(
            "The labels are numbers, which say nothing to a text tower: give them names, below, under `names`."
        )
    rows = list(zip(*(together[name] for name in label), strict=True))
    paths = sorted({labelled for row in rows if (labelled := _path(row))})
    return Found(layout, tree_of(paths, wishes), remarks)


def _path(cells: Sequence[str]) -> tuple[str, ...]:
    path = tuple(cells[0].split("/")) if len(cells) == 1 else tuple(cells)
    while path and not path[-1]:
        path = path[:-1]
    return path


def _metadata(folder: Path) -> Path | None:
    return next((folder / name for name in ("metadata.jsonl", "metadata.csv") if (folder / name).is_file()), None)


def _names_pictures(root: Path, path: Path) -> bool:
    try:
        delimiter, header = _form(path, root)
        columns = _columns(path, delimiter, header, _LOOKED_AT)
    except UserError:
        return False
    return any(any(_is_picture(cell) for cell in cells) for cells in columns.values())


def _form(path: Path, root: Path) -> tuple[str, list[str]]:
    """The delimiter, and names for the columns of a table without a header (else none)."""
    if path.suffix.lower() in (".jsonl", ".ndjson"):
        return ",", []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = list(islice(file, _LOOKED_AT))
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}", hint="Save it as UTF-8.") from error
    delimiter = max(_DELIMITERS, key=lambda sign: _agreement(lines, sign))
    if delimiter != "\t" and not _agreement(lines, delimiter):
        raise UserError(f"{path} is no table: its lines have no columns in common", hint="Divide columns by commas.")
    head = next(csv.reader(lines[:1], delimiter=delimiter), [])
    if any(_is_picture(cell) for cell in head):  # no header
        return delimiter, [f"column{i + 1}" for i in range(len(head))]
    return delimiter, []


def _agreement(lines: Sequence[str], delimiter: str) -> float:
    """Share of lines that have the commonest number of columns, above one; more columns win a tie."""
    try:
        widths = Counter(len(row) for row in csv.reader(lines, delimiter=delimiter, skipinitialspace=True) if row)
    except csv.Error:
        return 0.0
    width, count = widths.most_common(1)[0] if widths else (1, 0)
    return 0.0 if width < 2 else count / sum(widths.values()) + width / 1e4


def _columns(path: Path, delimiter: str, header: list[str], rows: int | None = None) -> Columns:
    lines = read_rows(path, delimiter)
    names = header or next(lines, (0, []))[1]
    cells = [row for _, row in islice(lines, rows) if len(row) == len(names)]
    return {name: [row[i] for row in cells] for i, name in enumerate(names)}


def _names(columns: dict[str, Columns]) -> list[str]:
    first = next(iter(columns.values()))
    return [name for name in first if all(name in part for part in columns.values())]


def _is_picture(cell: str) -> bool:
    return posixpath.splitext(cell)[1].lower() in EXTENSIONS


def _path_column(root: Path, table: Path, columns: Columns, wishes: Wishes) -> tuple[str, str | None]:
    """The column of paths and the folder they start from; None for the table's own."""
    candidates = (
        [wishes.path] if wishes.path else [n for n in columns if any(map(_is_picture, columns[n][:_LOOKED_AT]))]
    )
    if wishes.path and wishes.path not in columns:
        raise UserError(f"--path-column: there is no column {wishes.path!r}{nearest(wishes.path, columns)}")
    folders = [".", *sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith("."))]
    best: tuple[int, str, str | None] = (0, "", ".")
    for name in candidates:
        cells = [cell for cell in columns[name][:_LOOKED_AT] if cell and not leaves_root(cell)]
        for folder in folders:
            hits = sum(is_file(root / folder / cell) for cell in cells)
            best = max(best, (hits, name, folder), key=lambda found: found[0])
        if table.parent != root and (hits := sum(is_file(table.parent / cell) for cell in cells)) >= max(best[0], 1):
            best = (hits, name, None)
    if not best[0]:
        raise UserError(
            f"no column of {table} holds paths of pictures that are there",
            [f"the columns are {', '.join(columns)}"],
            f"Paths start from {root} or a folder in it. --path-column names the column.",
        )
    return best[1], best[2]


def _split_column(columns: Columns, path: str, wishes: Wishes) -> str | None:
    if wishes.split:
        if wishes.split not in columns:
            raise UserError(f"--split-column: there is no column {wishes.split!r}{nearest(wishes.split, columns)}")
        return wishes.split
    for name, cells in columns.items():
        if name != path and len(kinds := set(cells)) > 1 and all(SPLIT_NAMES.get(kind.casefold()) for kind in kinds):
            return name
    return None


def label_columns(columns: Columns, taken: set[str | None], wishes: Wishes) -> tuple[list[str], list[str]]:
    """The columns of the label, coarse to fine, and those that are not used.

    The finest is the column with most values of those that repeat themselves; a coarser one follows from the next.
    """
    free = {name: cells for name, cells in columns.items() if name not in taken}
    if wishes.label:
        if lacking := [f"there is no column {n!r}{nearest(n, columns)}" for n in wishes.label if n not in columns]:
            raise UserError("--label-columns cannot be used", lacking)
        return list(wishes.label), [name for name in free if name not in wishes.label]
    distinct = {name: len(set(cells) - {""}) for name, cells in free.items()}
    rows = len(next(iter(columns.values())))
    usable = [
        n for n, count in distinct.items() if count > 1 and (count <= rows / 2 or _is_label(n)) and not _floats(free[n])
    ]
    # Of columns that say the same, the one in words counts; of equal ones, the first.
    usable.sort(key=lambda name: (-distinct[name], _numbers(free[name]), list(free).index(name)))
    if not usable:
        raise UserError(
            "no column looks like a label: none repeats its values",
            [f"{name}: {count} values in {rows} rows" for name, count in distinct.items()],
            "--label-columns names them, coarse to fine.",
        )
    chain = [usable[0]]
    for name in usable[1:]:
        # A number beside a name says nothing new; where all are numbers, they are all there is.
        worded = not _numbers(free[name]) or _numbers(free[chain[0]])
        if distinct[name] < distinct[chain[-1]] and _follows(free[chain[-1]], free[name]) and worded:
            chain.append(name)
    chain.reverse()
    return chain, [name for name in free if name not in chain]


def _is_label(name: str) -> bool:
    return name.casefold() in ("label", "class", "species", "category", "name", "class_name", "labels")


def _follows(fine: Sequence[str], coarse: Sequence[str]) -> bool:
    """Whether each value of the one column always stands beside the same of the other."""
    above: dict[str, str] = {}
    return all(above.setdefault(a, b) == b for a, b in zip(fine, coarse, strict=True) if a)


def _numbers(cells: Sequence[str]) -> bool:
    return all(cell.lstrip("-").isdecimal() for cell in cells if cell)


def _floats(cells: Sequence[str]) -> bool:
    filled = [cell for cell in cells if cell][:_LOOKED_AT]
    return bool(filled) and not _numbers(filled) and all(_is_float(cell) for cell in filled)


def _is_float(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True
