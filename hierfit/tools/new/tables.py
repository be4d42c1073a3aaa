"""Tables of pictures: which file, which label and which split each row is."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import torch

from hierfit.data.names import respelled
from hierfit.data.records import read_rows
from hierfit.data.samples import SPLITS, names_of
from hierfit.errors import UserError, nearest
from hierfit.taxonomy import Taxonomy
from hierfit.taxonomy.checks import counted, listed
from hierfit.tools.new import found as finding
from hierfit.tools.new.columns import labels_of
from hierfit.tools.new.files import locate
from hierfit.tools.new.found import Found, LabelPath, Options, Row, is_known, split_of, split_word
from hierfit.tools.new.records import LINES, Records, TextColumns

_IS_SPLIT = re.compile(r"is_?(train|test|val)\w*", re.IGNORECASE)
_TRUTH = {"0": False, "1": True, "false": False, "true": True}
_NUMBERED = ("split", "partition", "subset", "set")  # columns in which 0, 1, 2 are train, val, test
_SIGNS = (",", "\t", ";", "|")


def from_tables(root: Path, tables: Mapping[str, Path], options: Options, read: Callable[[Path], Records]) -> Found:
    """Reads the tables and finds out their columns.

    Raises:
        UserError: No column holds paths of pictures, or none a label; or a column the user named is not there.
    """
    remarks: list[str] = []
    parts = _labelled(tables, options, remarks, read)
    first = next(iter(parts.values()))
    remarks += dict.fromkeys(remark for part in parts.values() for remark in part.remarks)
    together = _together(parts)
    if not any(together.values()):
        raise UserError(f"{first.path} has no rows")
    root, column, paths = locate(root, parts, list(together), options)
    cells = together[column]
    remarks.append(f"Column {column!r} names the picture.")
    own, split_cells, split_columns = _splits(parts, together, column, options, remarks)
    chain, labels = labels_of(together, {column, *split_columns}, options, remarks)
    missing = [cell for cell, path in zip(cells, paths, strict=True) if not path]
    if len(missing) > len(paths) / 2:
        what = f"of {len(paths)} pictures in the column {column!r} {len(missing)} are not there"
        raise UserError(f"{first.path}: {what}", missing[:5], f"Paths are looked for below {root}.")
    spelled = finding.renamings((name for label in labels for name in label), options.taxonomy, remarks)
    labels = _in_tree([respelled(label, spelled) for label in labels], options.taxonomy)
    kept = _kept(list(zip(paths, labels, split_cells, strict=True)), cells, own, remarks)
    if not kept:
        raise UserError(f"{first.path}: no row has both a picture that is there and a label", missing[:5])
    splits = finding.settle(own, options, remarks, "No column tells the split")
    if options.levels is None and len(chain) == max(len(label) for _, label, _ in kept) > 1:
        options = replace(options, levels=tuple(name.rpartition(".")[2] or name for name in chain))
    plain = _own_table(root, parts, column, zip(paths, cells, strict=True), chain, splits.own, split_columns)
    if plain:
        plain |= {**splits.draw, **({"names": spelled} if spelled else {})}
    return finding.found_rows(root, kept, splits, options, remarks, plain)


def _labelled(
    tables: Mapping[str, Path], options: Options, remarks: list[str], read: Callable[[Path], Records]
) -> dict[str, Records]:
    """The tables without those that have no label: of a competition's test split there is often but a list of names."""
    parts: dict[str, Records] = {}
    for split, path in tables.items():
        try:
            parts[split] = read(path)
        except UserError as error:
            if "train" not in tables or split == "train":
                raise
            remarks.append(f"Not used: {error.summary}.")
    wanted = parts["train"].columns.keys() if "train" in parts else set()
    if without := [split for split, part in parts.items() if not wanted <= part.columns.keys()]:
        try:
            labels_of(_together(parts), (), options, [])
        except UserError:
            remarks.append(f"Not used, for there is no label: {', '.join(parts[s].path.name for s in without)}.")
            return {split: part for split, part in parts.items() if split not in without}
    return parts


def _together(parts: Mapping[str, Records]) -> TextColumns:
    """The columns that all tables have, one below the other."""
    first = next(iter(parts.values()))
    names = [name for name in first.columns if all(name in part.columns for part in parts.values())]
    return {name: [cell for part in parts.values() for cell in part.columns[name]] for name in names}


def _splits(
    parts: Mapping[str, Records], columns: TextColumns, path: str, options: Options, remarks: list[str]
) -> tuple[dict[str, str], Sequence[str | None], Sequence[str]]:
    """Own names of the splits, that of each row, and the columns that say it; nothing where none does."""
    if "" not in parts:  # a table for each
        rows = [split for split, part in parts.items() for _ in next(iter(part.columns.values()))]
        return {split: split for split in parts}, rows, ()
    if (grouped := parts[""].splits) is not None:
        remarks.append("Splits are those of the file.")
        return split_of(dict.fromkeys(grouped)), grouped, ()
    names, cells = _split_columns(columns, path, options, remarks)
    if not names:
        return {}, [None] * len(columns[path]), ()
    what = f"Column {names[0]!r} is" if len(names) == 1 else f"Columns {', '.join(map(repr, names))} are"
    remarks.append(f"{what} the split.")
    return split_of(dict.fromkeys(filter(None, cells))), cells, names


def _split_columns(
    columns: TextColumns, path: str, options: Options, remarks: list[str]
) -> tuple[Sequence[str], list[str | None]]:
    """The columns that say the split, and the split of each row."""
    values = {name: {cell for cell in cells if is_known(cell)} for name, cells in columns.items()}
    wanted = options.split
    if wanted is not None and wanted not in columns:
        raise UserError(f"--split-column: there is no column {wanted!r}{nearest(wanted, columns)}")
    if wanted is not None and (unknown := sorted(cell for cell in values[wanted] if not split_word(cell))):
        what = f"--split-column: {wanted!r} holds what is no split: {', '.join(unknown[:5])}"
        raise UserError(
            what, hint="Splits are called train, val and test, or nearly so (training, valid, dev, testing)."
        )
    for name, kinds in values.items() if wanted is None else ((wanted, values[wanted]),):
        if wanted is None and (name == path or not kinds):
            continue
        words = set(map(split_word, kinds))
        if wanted or (None not in words and (len(kinds) > 1 or words == {"test"})):
            return [name], [cell if is_known(cell) else None for cell in columns[name]]
        if name.casefold() in _NUMBERED and kinds == {"0", "1", "2"}:
            remarks.append(f"In the column {name!r} 0 is taken for train, 1 for val and 2 for test.")
            return [name], [SPLITS[int(cell)] if cell in kinds else None for cell in columns[name]]
        if (is_split := _IS_SPLIT.fullmatch(name)) and {kind.casefold() for kind in kinds} <= _TRUTH.keys():
            yes = is_split[1].lower()
            no = "test" if yes == "train" else "train"
            return [name], [yes if _TRUTH.get(cell.casefold()) else no for cell in columns[name]]
    flags = [name for name in columns if split_word(name) and set(columns[name]) <= {"0", "1", ""}]
    if len(flags) < 2:
        return [], []
    rows = zip(*(columns[name] for name in flags), strict=True)
    return flags, [next((n for n, c in zip(flags, row, strict=True) if c == "1"), None) for row in rows]


def _in_tree(labels: Sequence[LabelPath], tree: Taxonomy | None) -> list[LabelPath]:
    """Labels as paths in a given tree: where the columns are no path in it, the finest name alone says the node."""
    if tree is None:
        return list(labels)
    paths = list(names_of(tree, torch.arange(tree.num_nodes)))
    whole, inner = set(paths), {path[:-1] for path in paths}
    named: dict[str, list[LabelPath]] = {}
    for path in paths:
        named.setdefault(path[-1], []).append(path)
    bearers = {name: [path for path in found if path not in inner] or found for name, found in named.items()}
    only = {name: found[0] for name, found in bearers.items() if len(found) == 1}
    return [label if not label or label in whole else only.get(label[-1], label) for label in labels]


def _kept(rows: Sequence[Row], cells: Sequence[str], own: Mapping[str, str], remarks: list[str]) -> list[Row]:
    """Rows with a picture that is there, a label and a split, each picture once; remarks say what is left out."""
    left_out: dict[str, list[str]] = {}
    first: dict[str, Row] = {}
    clashing: set[str] = set()
    for row, cell in zip(rows, cells, strict=True):
        path, label, split = row
        _, other, other_split = first.get(path, (path, (), split))
        same = other_split == split
        if not path:
            left_out.setdefault("of a picture that is not there", []).append(cell)
        elif not label:
            left_out.setdefault("without a label", []).append(cell)
        elif own and (split is None or not split_word(split)):
            left_out.setdefault("without a split", []).append(cell)
        elif same and label[: len(other)] == other:
            first[path] = row  # the first, the same again, or finer
        elif not same or other[: len(label)] != label:
            left_out.setdefault("of a picture that another row gives another label or split", []).append(cell)
            clashing.add(path)
    for reason, which in left_out.items():
        remarks.append(f"Left out: {counted(len(which), 'row')} {reason}: {listed(which, 3)}.")
    return [row for row in first.values() if row[0] not in clashing]


def _own_table(
    root: Path, parts: Mapping[str, Records], column: str, pairs: Iterable[tuple[str, str]], chain: Sequence[str],
    own: Mapping[str, str], split_columns: Sequence[str],
) -> dict[str, object]:  # fmt: skip
    """A layout by which the data's own tables may be read; whether they are plain enough is seen by trying.

    `pairs` are the path of each row's picture, and the cell that names it.
    """
    first = next(iter(parts.values()))
    signs = [_sign(part) for part in parts.values() if part.path.is_relative_to(root)]
    if len(signs) < len(parts) or not all(signs) or ("" not in parts and not own):  # or drawn from several tables
        return {}
    places = {split: part.path.relative_to(root).as_posix() for split, part in parts.items()}
    layout: dict[str, object] = {"name": "manifest"}
    layout |= {"file": places[""]} if "" in places else {"files": {split: places[name] for split, name in own.items()}}
    if split_columns and (meaning := {name: split for split, name in own.items() if name != split}):
        layout["splits"] = meaning
    ends = [(path, posixpath.normpath(cell)) for path, cell in pairs if path]
    bases = {path[: -len(cell)] if path.endswith(cell) else None for path, cell in ends}
    base = bases.pop() if len(bases) == 1 else None
    if base != "":
        layout["images"] = base.rstrip("/") if base else None
    if not first.has_header:
        layout["columns"] = list(first.columns)
    layout |= {"path": column, "label": chain if len(chain) > 1 else chain[0]}
    if split_columns:
        layout["split"] = split_columns[0]
    if signs[0] != ",":
        layout["delimiter"] = signs[0]
    return layout


def _sign(table: Records) -> str:
    """What divides the cells of a text table; empty where `Manifest` would not read it so."""
    if table.path.suffix.lower() in LINES:
        return ","
    for sign in _SIGNS:
        try:
            _, head = next(read_rows(table.path, sign), (0, []))
        except UserError:
            break
        if len(head) == len(table.columns) and (not table.has_header or head == list(table.columns)):
            return sign
    return ""
