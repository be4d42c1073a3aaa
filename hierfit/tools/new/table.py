"""Tables of pictures: which file, which label and which split each row is, and a layout that reads it so."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hierfit.data.names import respelled
from hierfit.errors import UserError
from hierfit.taxonomy import Taxonomy
from hierfit.tools.lines import counted
from hierfit.tools.new.columns import Labels, labels_of
from hierfit.tools.new.found import Found, Label, Options, split_word, tree_of
from hierfit.tools.new.locate import locate
from hierfit.tools.new.records import Columns, Records, read_records
from hierfit.tools.new.spelling import renamings
from hierfit.tools.new.splits import splits_of, used_splits


@dataclass
class Row:
    """A picture: its path from the root on, its label, and its split if that is known."""

    path: str
    label: Label
    split: str | None


def from_tables(root: Path, tables: Mapping[str, Path], options: Options) -> Found:
    """Read the tables and find out their columns.

    Raises:
        UserError: No column holds paths of pictures, or none a label; or a column the user named is not there.
    """
    remarks: list[str] = []
    parts = _labelled(tables, options, remarks)
    first = next(iter(parts.values()))
    remarks += [remark for part in parts.values() for remark in part.remarks]
    together = _together(parts)
    if not any(together.values()):
        raise UserError(f"{first.path} has no rows")
    root, column, paths = locate(root, parts, list(together), options)
    remarks.append(f"Column {column!r} is the picture.")
    own, splits, split_column = splits_of(parts, together, column, options, remarks)
    labels = labels_of(together, {column, *(split_column or ())}, options)
    remarks += labels.remarks
    missing = [cell for cell, path in zip(together[column], paths, strict=True) if not path]
    if len(missing) > len(paths) / 2:
        raise UserError(
            f"{first.path}: of {len(paths)} pictures in the column {column!r} {len(missing)} are not there",
            missing[:5],
            f"Paths are looked for below {root}.",
        )
    spelled = renamings((name for label in labels.paths for name in label), options.taxonomy, remarks)
    read = [respelled(label, spelled) for label in labels.paths]
    placed = _in_tree(read, options.taxonomy)
    rows = [Row(*row) for row in zip(paths, placed, splits, strict=True)]
    kept = _kept(rows, together[column], bool(own), remarks)
    labelled = sorted({row.label for row in kept})
    if not labelled:
        raise UserError(f"{first.path}: no row has both a picture that is there and a label", missing[:5])
    own, test_only = used_splits(own, remarks)
    kept = [row for row in kept if not own or row.split in own.values()]
    draw = options.draw_val(own, remarks) if own else {"draw": options.draw}
    if options.levels is None and len(labels.columns) == max(map(len, labelled)) > 1:
        options = replace(options, levels=tuple(name.rpartition(".")[2] or name for name in labels.columns))
    tree = tree_of(labelled, options)
    plain = len(kept) == len(rows) and labels.plain and all(part.plain for part in parts.values())
    plain &= (placed == read or len(labels.columns) == 1) and (bool(own) or "" in tables)
    plain &= not (spelled and any("/" in cell for cell in together[labels.columns[0]]) and len(labels.columns) == 1)
    base = _base(root, tables, together[column], paths)
    as_said = split_column is None or (len(split_column) == 1 and splits == together[split_column[0]])
    if plain and base is not None and as_said:
        layout = _plain_layout(root, tables, first, column, labels, own, split_column, base)
        return Found(root, layout | draw | ({"names": spelled} if spelled else {}), tree, remarks, test_only=test_only)
    meant = {name: split for split, name in own.items()}
    deep = max((len(row.label) for row in kept), default=1)
    levels = list(tree.levels) if deep == tree.num_levels > 1 else [f"label{i + 1}" for i in range(deep)]
    levels = levels if deep > 1 else ["label"]
    header = ["path", *levels, *(["split"] if own else [])]
    samples: list[list[str]] = [header]
    for row in kept:
        label = row.label
        samples.append([row.path, *label, *[""] * (deep - len(label)), *([meant[row.split or ""]] if own else [])])
    remarks.append("Its own table is not plain: what was read of it is in a table beside this card.")
    layout = {"name": "manifest", "samples": "", "label": levels if deep > 1 else "label", **draw}
    return Found(root, layout, tree, remarks, samples=samples, test_only=test_only)


def _together(parts: Mapping[str, Records]) -> Columns:
    """The columns that all tables have, one below the other."""
    first = next(iter(parts.values()))
    names = [name for name in first.columns if all(name in part.columns for part in parts.values())]
    return {name: [cell for part in parts.values() for cell in part.columns[name]] for name in names}


def _labelled(tables: Mapping[str, Path], options: Options, remarks: list[str]) -> dict[str, Records]:
    """The tables without those that have no label: of a competition's test split there is often but a list of names."""
    parts: dict[str, Records] = {}
    for split, path in tables.items():
        try:
            parts[split] = read_records(path)
        except UserError as error:
            if "train" not in tables or split == "train":
                raise
            remarks.append(f"Not used: {error.summary}.")
    if "train" not in parts:
        return parts
    wanted = parts["train"].columns.keys()
    if without := [split for split, part in parts.items() if not wanted <= part.columns.keys()]:
        try:
            labels_of(_together(parts), (), options)
        except UserError:
            remarks.append(f"Not used, for there is no label: {', '.join(parts[s].path.name for s in without)}.")
            return {split: part for split, part in parts.items() if split not in without}
    return parts


def _in_tree(labels: Sequence[Label], tree: Taxonomy | None) -> list[Label]:
    """Labels as paths in a given tree: where the columns are no path in it, the finest name alone says the node."""
    if tree is None:
        return list(labels)
    paths = [_path(tree, node) for node in range(tree.num_nodes)]
    named: dict[str, list[int]] = {}
    for node, name in enumerate(tree.names):
        named.setdefault(name, []).append(node)
    places = {}
    for name, nodes in named.items():
        leaves = [node for node in nodes if int(tree.num_children[node]) == 0]
        if len(found := leaves or nodes) == 1:
            places[name] = paths[found[0]]
    whole = set(paths)
    return [label if not label or label in whole else places.get(label[-1], label) for label in labels]


def _path(tree: Taxonomy, node: int) -> Label:
    path: list[str] = []
    while node >= 0:
        path.append(tree.names[node])
        node = int(tree.parent[node])
    return tuple(reversed(path))


def _kept(rows: Sequence[Row], cells: Sequence[str], has_splits: bool, remarks: list[str]) -> list[Row]:
    """Rows with a picture that is there, a label and a split, each picture once; remarks say what is left out."""
    left_out: dict[str, list[str]] = {}
    first: dict[str, Row] = {}
    clashing: set[str] = set()
    for row, cell in zip(rows, cells, strict=True):
        if not row.path:
            left_out.setdefault("of a picture that is not there", []).append(cell)
        elif not row.label:
            left_out.setdefault("without a label", []).append(cell)
        elif has_splits and (row.split is None or not split_word(row.split)):
            left_out.setdefault("without a split", []).append(cell)
        elif row.path not in first:
            first[row.path] = row
        elif (other := first[row.path]).split == row.split and other.label[: len(row.label)] == row.label:
            continue  # the same again
        elif other.split == row.split and row.label[: len(other.label)] == other.label:
            first[row.path] = row
        else:
            left_out.setdefault("of a picture that another row gives another label or split", []).append(cell)
            clashing.add(row.path)
    for reason, which in left_out.items():
        more = ", …" if len(which) > 3 else ""
        remarks.append(f"Left out: {counted(len(which), 'row')} {reason}: {', '.join(which[:3])}{more}.")
    return [row for row in first.values() if row.path not in clashing]


def _base(root: Path, tables: Mapping[str, Path], cells: Sequence[str], paths: Sequence[str]) -> str | None:
    """The folder that all cells start from as they stand; empty for that of each split's own table, None for none."""
    if not all(path.is_relative_to(root) for path in tables.values()):
        return None
    normal = [posixpath.normpath(cell) for cell in cells]
    if not all(path.endswith(cell) for path, cell in zip(paths, normal, strict=True)):
        return None
    folders = {path[: len(path) - len(cell)] for path, cell in zip(paths, normal, strict=True)}
    if len(folders) == 1:
        folder = folders.pop()
        return (folder.rstrip("/") or ".") if folder.endswith("/") or not folder else None
    if "" in tables or folders != {f"{path.parent.relative_to(root).as_posix()}/" for path in tables.values()}:
        return None
    return ""


def _plain_layout(
    root: Path,
    tables: Mapping[str, Path],
    first: Records,
    path: str,
    labels: Labels,
    own: Mapping[str, str],
    split_column: tuple[str, ...] | None,
    base: str,
) -> dict[str, object]:
    """The layout that reads the data's own tables."""
    layout: dict[str, object] = {"name": "manifest"}
    if "" in tables:
        layout["file"] = tables[""].relative_to(root).as_posix()
    else:
        layout["files"] = {split: tables[name].relative_to(root).as_posix() for split, name in own.items()}
    if split_column and (meaning := {name: split for split, name in own.items() if name != split}):
        layout["splits"] = meaning
    if base != ".":
        layout["images"] = base or None
    if first.header:
        layout["columns"] = first.header
    layout |= {"path": path, "label": labels.columns if len(labels.columns) > 1 else labels.columns[0]}
    if split_column:
        layout["split"] = split_column[0]
    if first.delimiter != ",":
        layout["delimiter"] = first.delimiter
    return layout
