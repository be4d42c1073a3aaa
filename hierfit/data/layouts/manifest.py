"""Pictures listed in tables: ``path,label[,split]``, with any delimiter, header or column order; or in JSON lines."""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Mapping

from hierfit.data.home import Home
from hierfit.data.names import clean_name, respelled
from hierfit.data.records import read_by_column, read_rows
from hierfit.data.samples import SPLITS, Sample, SampleLabel, leaves_root
from hierfit.data.splits import Shares
from hierfit.errors import UserError, nearest


def manifest(
    home: Home,
    *,
    file: str = "manifest.csv",
    files: Mapping[str, str] = {},
    images: str | None = ".",
    columns: tuple[str, ...] = (),
    path: str = "path",
    label: tuple[str, ...] = ("label",),
    split: str = "split",
    splits: Mapping[str, str] = {},
    draw: Shares | None = None,
    delimiter: str = ",",
    separator: str = "/",
    names: Mapping[str, str] = {},
    samples: str | None = None,
    class_names: str | None = None,
) -> Iterator[Sample]:
    """One table with a column for the split, or one table a split.

    A label is the name of a node at any level, or a path from the root. A table whose name ends in ``.jsonl`` holds an
    object in each line, and its keys are the columns: the ``metadata.jsonl`` of the Hugging Face hub is one.

    Args:
        file: The table, below the root; it has a column ``split`` with ``train``, ``val`` or ``test``.
        files: Instead of `file`, the table of each split.
        images: Folder below the root that the paths start from; null where each table's own folder is meant.
        columns: Names of the columns of tables that have no header line.
        path: Column of the path.
        label: Column of the label, or the columns of its path, coarse to fine; cells at the end may be empty.
        split: Column of the split.
        splits: What the cells of that column mean, where they are not train, val and test: ``{validation: val}``.
        draw: Shares of validation and test, for a table without such a column. A share 0 of test means that the table
            has one, and validation is drawn from what is there to train on.
        delimiter: Between cells.
        separator: Between the names of a path that stands in one cell.
        names: What the tree calls a class that the cells call otherwise; an empty text for "not known".
        samples: Instead of `file`, a CSV beside the card: ``hierfit data new`` writes one where the data's own table is
            not plain.
        class_names: A CSV beside the card. Labels are then numbers, and label i is line i of it after the
            header, read coarse to fine.
    """
    root, card = home.folder(), home.card
    tree_names = {clean_name(name): name for name in card.tree.names}
    home.base, home.names, home.draw = root / (images or "."), None, draw
    drawn = draw is not None and draw.test > 0
    place = card.path.parent if samples else root
    tables = files or {"train" if drawn else "": samples or file}
    faults = [f"layout.images leaves the root: {images}"] if images is not None and leaves_root(images) else []
    faults += [f"layout.files: {name}: unknown split{nearest(name, SPLITS)}" for name in files if name not in SPLITS]
    faults += [f"{name} leaves the root" for name in tables.values() if leaves_root(name)]
    if faults:
        raise UserError(f"{card.path} cannot be followed", faults)
    if absent := [f"no file {name}" for name in tables.values() if not os.path.isfile(place / name)]:
        raise UserError(f"{place} has not the tables of the card", absent, f"To get the data: {card.obtain}")
    classes: list[tuple[str, ...]] = []
    if class_names is not None:
        classes = [tuple(filter(None, row)) for _, row in read_rows(card.path.parent / class_names)][1:]

    def placed(table: str, fixed: str, row: Mapping[str, str]) -> Sample | None:
        """The sample of a row, None where the card leaves it out; raises `UserError` with what is wrong with it."""
        part = fixed or splits.get(row[split], row[split])
        if part not in SPLITS:
            raise UserError(f"unknown split {part!r}{nearest(part, SPLITS)}")
        if not (key := row[path]):
            raise UserError("the path is empty")
        if images is None and not posixpath.isabs(key):
            key = posixpath.join(posixpath.dirname(table), key)
        if (key := posixpath.normpath(key)) in card.leave_out:
            return None
        cells = [row[column] for column in label]
        if class_names is not None and any(cells):
            if cells[0].isdecimal() and int(cells[0]) < len(classes):
                return Sample(part, key, classes[int(cells[0])])
            raise UserError(f"label {cells[0]!r} is none of the class numbers 0 … {len(classes) - 1}")
        named: SampleLabel = respelled(cells, names, tree_names)
        if named and len(cells) == 1:  # the tree itself reads "/", since names may hold one
            whole = named[0]
            named = whole if separator == "/" else respelled(whole.split(separator), names, tree_names)
        if not named:
            raise UserError("the label is empty")
        return Sample(part, key, named)

    wanted = (path, *label, *(() if files or drawn else (split,)))
    for fixed, name in tables.items():
        for line, row, fault in read_by_column(place / name, wanted, delimiter, columns):
            try:
                found = None if fault else placed(name, fixed, row)
            except UserError as error:
                fault = str(error)
            if fault:
                home.problems.append(f"{name}:{line}: {fault}")
            elif found:
                yield found
