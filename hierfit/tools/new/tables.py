"""Tables of pictures: which file, which label and which split each row is."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence

from hierfit.data.samples import SPLITS
from hierfit.errors import UserError, nearest
from hierfit.taxonomy.checks import counted, listed
from hierfit.tools.new.columns import labels_of
from hierfit.tools.new.files import locate
from hierfit.tools.new.found import Found, Row, is_known, split_of, split_word
from hierfit.tools.new.records import Records, TextColumns

_IS_SPLIT = re.compile(r"is_?(train|test|val)\w*", re.IGNORECASE)
_OF_NUMBERS = ("split", "partition", "subset", "set")  # columns in which 0, 1, 2 are train, val, test


def from_tables(found: Found, parts: Mapping[str, Records]) -> None:
    """What one table, or one a split, makes of the pictures: finds out their columns.

    Raises:
        UserError: No column holds paths of pictures, or none a label; or a column the user named is not there.
    """
    parts = _with_labels(found, parts)
    first = next(iter(parts.values()))
    found.remarks += dict.fromkeys(remark for part in parts.values() for remark in part.remarks)
    together = _together(parts)
    if len(together) < 2:
        what = f"{first.path} is no table of pictures: its lines have no two columns in common"
        raise UserError(what, hint="Divide columns by commas: path,label.")
    found.root, column, paths = locate(found.root, parts, list(together), found.options.path)
    cells = together[column]
    found.remarks.append(f"Column {column!r} names the picture.")
    own, split_cells, split_column = _splits_of(found, parts, together, column)
    chain, labels = labels_of(found, together, {column, split_column})
    missing = [cell for cell, path in zip(cells, paths, strict=True) if not path]
    if len(missing) > len(paths) / 2:
        what = f"of {len(paths)} pictures in the column {column!r} {len(missing)} are not there"
        raise UserError(f"{first.path}: {what}", missing[:5], f"Paths are looked for below {found.root}.")
    labels, names = found.in_one_spelling(labels)
    rows = _usable_rows(zip(paths, labels, split_cells, strict=True), cells, bool(own), found.remarks)
    if not rows:
        raise UserError(f"{first.path}: no row has both a picture that is there and a label", missing[:5])
    found.settle(own, "No column tells the split")
    if len(chain) > 1:
        found.levels = tuple(name.rpartition(".")[2] or name for name in chain)
    # A layout by which the data's own tables may be read; whether they are plain enough is seen by trying.
    plain = all(part.sign and part.path.is_relative_to(found.root) for part in parts.values())
    if plain and ("" in parts or found.splits):  # or drawn from several tables
        found.layout = {"name": "manifest", **_table_places(found, parts), **_start(zip(paths, cells, strict=True))}
        found.layout |= {"path": column, "label": chain if len(chain) > 1 else chain[0]}
        found.layout |= {"columns": list(first.columns)} if not first.has_header else {}
        found.layout |= {"split": split_column} if split_column else {}
        if split_column and (meaning := {name: split for split, name in found.splits.items() if name != split}):
            found.layout["splits"] = meaning
        found.layout |= {"delimiter": first.sign} if first.sign != "," else {}
        found.layout |= {"names": names} if names else {}
    found.keep(rows)


def _with_labels(found: Found, parts: Mapping[str, Records]) -> Mapping[str, Records]:
    """The tables without those that have no label: of a competition's test split there is often but a list of names."""
    wanted = parts["train"].columns.keys() if "train" in parts else set()
    without = [split for split, part in parts.items() if not wanted <= part.columns.keys()]
    try:
        if without:
            labels_of(Found(found.root, found.options), _together(parts), ())
    except UserError:
        names = ", ".join(parts[split].path.name for split in without)
        found.remarks.append(f"Not used, for there is no label: {names}.")
        return {split: part for split, part in parts.items() if split not in without}
    return parts


def _together(parts: Mapping[str, Records]) -> TextColumns:
    """The columns that all tables have, one below the other."""
    first = next(iter(parts.values()))
    names = [name for name in first.columns if all(name in part.columns for part in parts.values())]
    return {name: [cell for part in parts.values() for cell in part.columns[name]] for name in names}


def _splits_of(
    found: Found, parts: Mapping[str, Records], columns: TextColumns, path: str
) -> tuple[dict[str, str], Sequence[str | None], str]:
    """Own names of the splits, that of each row, and the column that says it; nothing where none does."""
    if "" not in parts:  # a table for each
        rows = [split for split, part in parts.items() for _ in next(iter(part.columns.values()))]
        return {split: split for split in parts}, rows, ""
    if (wanted := found.options.split) is not None and wanted not in columns:
        raise UserError(f"--split-column: there is no column {wanted!r}{nearest(wanted, columns)}")
    for name in [name for name in columns if name != path] if wanted is None else [wanted]:
        if meaning := _as_splits(name, columns[name], wanted is not None, found.remarks):
            found.remarks.append(f"Column {name!r} is the split.")
            cells = [meaning.get(cell.casefold()) for cell in columns[name]]
            return split_of(dict.fromkeys(filter(None, cells))), cells, name
    if wanted is not None:
        what = f"--split-column: {wanted!r} holds what is no split: {listed(dict.fromkeys(columns[wanted]))}"
        hint = "Splits are called train, val and test, or nearly so (training, valid, dev, testing)."
        raise UserError(what, hint=hint)
    return {}, [None] * len(columns[path]), ""


def _as_splits(name: str, cells: Sequence[str], asked: bool, remarks: list[str]) -> Mapping[str, str]:
    """What each cell of a column, without case, says of the split, by the split's own name; nothing if it is none."""
    if not (kinds := dict.fromkeys(cell for cell in cells if is_known(cell))):
        return {}
    words, flags = {split_word(kind) for kind in kinds}, {kind.casefold() for kind in kinds}
    if None not in words and (asked or len(kinds) > 1 or words == {"test"}):
        own = split_of(kinds)
        return {kind.casefold(): own[str(split_word(kind))] for kind in kinds}
    if name.casefold() in _OF_NUMBERS and flags == {"0", "1", "2"}:
        remarks.append(f"In the column {name!r} 0 is taken for train, 1 for val and 2 for test.")
        return dict(zip("012", SPLITS, strict=True))
    if (match := _IS_SPLIT.fullmatch(name)) and flags <= {"0", "1", "true", "false"}:
        yes = match[1].lower()
        no = "test" if yes == "train" else "train"
        return {"1": yes, "true": yes, "0": no, "false": no}
    return {}


def _usable_rows(rows: Iterable[Row], cells: Sequence[str], split: bool, remarks: list[str]) -> list[Row]:
    """Rows with a picture that is there, a label and a split, each picture once; remarks say what is left out."""
    left_out: dict[str, list[str]] = {}
    first: dict[str, Row] = {}
    clashing: set[str] = set()
    for row, cell in zip(rows, cells, strict=True):
        path, label, own = row
        lacking = ("of a picture that is not there" if not path else "without a label" if not label
                   else "without a split" if split and not (own and split_word(own)) else "")  # fmt: skip
        _, other, other_split = first.setdefault(path, row) if not lacking else row
        if other_split != own or other[: len(label)] != label[: len(other)]:
            lacking = "of a picture that another row gives another label or split"
            clashing.add(path)
        if lacking:
            left_out.setdefault(lacking, []).append(cell)
        elif len(label) > len(other):
            first[path] = row  # the same, but finer
    for reason, which in left_out.items():
        remarks.append(f"Left out: {counted(len(which), 'row')} {reason}: {listed(which, 3)}.")
    return [row for row in first.values() if row[0] not in clashing]


def _table_places(found: Found, parts: Mapping[str, Records]) -> dict[str, object]:
    """Where the tables lie, as a layout says it."""
    places = {split: part.path.relative_to(found.root).as_posix() for split, part in parts.items()}
    if "" in places:
        return {"file": places[""]}
    return {"files": {split: places[name] for split, name in found.splits.items()}}


def _start(pairs: Iterable[tuple[str, str]]) -> dict[str, object]:
    """Where the cells of pictures start from, of each one's path and the cell that names it."""
    ends = [(path, posixpath.normpath(cell)) for path, cell in pairs if path]
    bases = {path[: -len(cell)] if path.endswith(cell) else None for path, cell in ends}
    base = bases.pop() if len(bases) == 1 else None
    return {} if base == "" else {"images": base.rstrip("/") if base else None}
