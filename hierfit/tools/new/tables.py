"""Tables of pictures: which file, which label and which split each row is."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch

from hierfit.config.schema import nearest
from hierfit.data.names import respelled
from hierfit.data.records import read_csv
from hierfit.data.samples import SPLITS, names_of
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tools.new.columns import labels_of
from hierfit.tools.new.files import locate
from hierfit.tools.new.found import Found, Label, Options, found_rows, is_known, renamings, settle, split_of, split_word
from hierfit.tools.new.records import LINES, Columns, Records
from hierfit.tools.printing import counted, listed

_IS_SPLIT = re.compile(r"is_?(train|test|val)\w*", re.IGNORECASE)
_TRUTH = {"0": False, "1": True, "false": False, "true": True}
_NUMBERED = ("split", "partition", "subset", "set")  # columns in which 0, 1, 2 are train, val, test
_SIGNS = (",", "\t", ";", "|")


class Row(NamedTuple):
    """A picture: its path from the root on, its label, and its split, by its own name, if that is known."""

    path: str
    label: Label
    split: str | None


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
        raise UserError(
            f"{first.path}: of {len(paths)} pictures in the column {column!r} {len(missing)} are not there",
            missing[:5],
            f"Paths are looked for below {root}.",
        )
    spelled = renamings((name for label in labels for name in label), options.taxonomy, remarks)
    labels = _in_tree([respelled(label, spelled) for label in labels], options.taxonomy)
    kept = _kept([Row(*row) for row in zip(paths, labels, split_cells, strict=True)], cells, own, remarks)
    if not kept:
        raise UserError(f"{first.path}: no row has both a picture that is there and a label", missing[:5])
    splits = settle(own, options, remarks, "No column tells the split")
    if options.levels is None and len(chain) == max(len(row.label) for row in kept) > 1:
        options = replace(options, levels=tuple(name.rpartition(".")[2] or name for name in chain))
    plain = _own_table(root, parts, column, cells, paths, chain, splits.own, split_columns)
    if plain:
        plain |= {**splits.draw, **({"names": spelled} if spelled else {})}
    return found_rows(root, kept, splits, options, remarks, plain)


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
    if "train" not in parts:
        return parts
    wanted = parts["train"].columns.keys()
    if without := [split for split, part in parts.items() if not wanted <= part.columns.keys()]:
        try:
            labels_of(_together(parts), (), options, [])
        except UserError:
            remarks.append(f"Not used, for there is no label: {', '.join(parts[s].path.name for s in without)}.")
            return {split: part for split, part in parts.items() if split not in without}
    return parts


def _together(parts: Mapping[str, Records]) -> Columns:
    """The columns that all tables have, one below the other."""
    first = next(iter(parts.values()))
    names = [name for name in first.columns if all(name in part.columns for part in parts.values())]
    return {name: [cell for part in parts.values() for cell in part.columns[name]] for name in names}


def _splits(
    parts: Mapping[str, Records], columns: Columns, path: str, options: Options, remarks: list[str]
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
    columns: Columns, path: str, options: Options, remarks: list[str]
) -> tuple[Sequence[str], list[str | None]]:
    """The columns that say the split, and the split of each row."""
    values = {name: {cell for cell in cells if is_known(cell)} for name, cells in columns.items()}
    if (name := options.split) is not None:
        if name not in columns:
            raise UserError(f"--split-column: there is no column {name!r}{nearest(name, columns)}")
        if unknown := sorted(cell for cell in values[name] if not split_word(cell)):
            raise UserError(
                f"--split-column: {name!r} holds what is no split: {', '.join(unknown[:5])}",
                hint="Splits are called train, val and test, or nearly so (training, valid, dev, testing).",
            )
        return [name], [cell if is_known(cell) else None for cell in columns[name]]
    for name, kinds in values.items():
        if name == path or not kinds:
            continue
        if all(map(split_word, kinds)) and (len(kinds) > 1 or split_word(next(iter(kinds))) == "test"):
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


def _in_tree(labels: Sequence[Label], tree: Taxonomy | None) -> list[Label]:
    """Labels as paths in a given tree: where the columns are no path in it, the finest name alone says the node."""
    if tree is None:
        return list(labels)
    paths = list(names_of(tree, torch.arange(tree.num_nodes)))
    whole, inner = set(paths), {path[:-1] for path in paths}
    named: dict[str, list[Label]] = {}
    for path in paths:
        named.setdefault(path[-1], []).append(path)
    only = {}
    for name, found in named.items():
        found = [path for path in found if path not in inner] or found
        if len(found) == 1:
            only[name] = found[0]
    return [label if not label or label in whole else only.get(label[-1], label) for label in labels]


def _kept(rows: Sequence[Row], cells: Sequence[str], own: Mapping[str, str], remarks: list[str]) -> list[Row]:
    """Rows with a picture that is there, a label and a split, each picture once; remarks say what is left out."""
    left_out: dict[str, list[str]] = {}
    first: dict[str, Row] = {}
    clashing: set[str] = set()
    for row, cell in zip(rows, cells, strict=True):
        other = first.get(row.path)
        if not row.path:
            left_out.setdefault("of a picture that is not there", []).append(cell)
        elif not row.label:
            left_out.setdefault("without a label", []).append(cell)
        elif own and (row.split is None or not split_word(row.split)):
            left_out.setdefault("without a split", []).append(cell)
        elif other is None or (other.split == row.split and row.label[: len(other.label)] == other.label):
            first[row.path] = row  # the same again, or finer
        elif other.split != row.split or other.label[: len(row.label)] != row.label:
            left_out.setdefault("of a picture that another row gives another label or split", []).append(cell)
            clashing.add(row.path)
    for reason, which in left_out.items():
        remarks.append(f"Left out: {counted(len(which), 'row')} {reason}: {listed(which, 3)}.")
    return [row for row in first.values() if row.path not in clashing]


def _own_table(
    root: Path,
    parts: Mapping[str, Records],
    column: str,
    cells: Sequence[str],
    paths: Sequence[str],
    chain: Sequence[str],
    own: Mapping[str, str],
    split_columns: Sequence[str],
) -> dict[str, object]:
    """A layout by which the data's own tables may be read; whether they are plain enough is seen by trying."""
    if not all(part.path.is_relative_to(root) and _sign(part) for part in parts.values()):
        return {}
    if "" not in parts and not own:  # splits that are drawn from several tables
        return {}
    places = {split: part.path.relative_to(root).as_posix() for split, part in parts.items()}
    first = next(iter(parts.values()))
    layout: dict[str, object] = {"name": "manifest"}
    layout |= {"file": places[""]} if "" in places else {"files": {split: places[name] for split, name in own.items()}}
    if split_columns and (meaning := {name: split for split, name in own.items() if name != split}):
        layout["splits"] = meaning
    normal = (posixpath.normpath(cell) for cell in cells)
    bases = {path[: -len(cell)] if path.endswith(cell) else None
             for path, cell in zip(paths, normal, strict=True) if path}  # fmt: skip
    base = next(iter(bases)) if len(bases) == 1 else None
    if base != "":
        layout["images"] = base.rstrip("/") if base else None
    if not first.has_header:
        layout["columns"] = list(first.columns)
    layout |= {"path": column, "label": chain if len(chain) > 1 else chain[0]}
    if split_columns:
        layout["split"] = split_columns[0]
    if (sign := _sign(first)) != ",":
        layout["delimiter"] = sign
    return layout


def _sign(table: Records) -> str:
    """What divides the cells of a text table; empty where `Manifest` would not read it so."""
    if table.path.suffix.lower() in LINES:
        return ","
    for sign in _SIGNS:
        try:
            _, head = next(read_csv(table.path, sign), (0, []))
        except UserError:
            break
        if len(head) == len(table.columns) and (not table.has_header or head == list(table.columns)):
            return sign
    return ""
