"""Pictures listed in tables: ``path,label[,split]``, with any delimiter, header or column order; or in JSON lines."""

from __future__ import annotations

import csv
import json
import posixpath
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from hierfit.config.schema import nearest
from hierfit.data.drawn import Draw
from hierfit.data.images import Files, is_file, leaves_root
from hierfit.data.layouts import folder_of
from hierfit.data.names import clean_name, respelled
from hierfit.data.table import SPLITS, Split, Table, nodes_of, repeated, several
from hierfit.errors import UserError

if TYPE_CHECKING:
    from hierfit.data.card import DataCard

Label = str | tuple[str, ...]


@dataclass(frozen=True)
class Manifest:
    """One table with a column for the split, or one table a split.

    A label is the name of a node at any level, or a path from the root. A table whose name ends in ``.jsonl`` holds an
    object in each line, and its keys are the columns: the ``metadata.jsonl`` of the Hugging Face hub is one.

    Attributes:
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

    file: str = "manifest.csv"
    files: Mapping[str, str] = field(default_factory=dict)
    images: str | None = "."
    columns: tuple[str, ...] = ()
    path: str = "path"
    label: tuple[str, ...] = ("label",)
    split: str = "split"
    splits: Mapping[str, str] = field(default_factory=dict)
    draw: Draw | None = None
    delimiter: str = ","
    separator: str = "/"
    names: Mapping[str, str] = field(default_factory=dict)
    samples: str | None = None
    class_names: str | None = None

    def read(self, root: Path | None, card: DataCard, problems: list[str]) -> Table:
        """Read the tables; raises `UserError` when one is missing or has not the columns."""
        root, taxonomy = folder_of(root, card), card.tree
        classes = None if self.class_names is None else _class_names(card.path.parent / self.class_names)
        keys: dict[str, list[str]] = {}
        labels: dict[str, list[Label]] = {}
        known = {clean_name(name): name for name in taxonomy.names}
        for split, row, where in self._rows(root, card, problems):
            key = posixpath.normpath(row[self.path])
            if key in card.leave_out:
                continue
            label, fault = self._label(row, classes, known)
            if fault:
                problems.append(f"{where}: {fault}")
                continue
            keys.setdefault(split, []).append(key)
            labels.setdefault(split, []).append(label)
        base = root if self.images is None else root / self.images
        if self.images is not None and leaves_root(self.images):
            problems.append(f"layout.images leaves the root: {self.images}")
        for split, found in keys.items():
            outside = [key for key in found if leaves_root(key)]
            problems += several(f"{split}: path leaves the folder {base}:", outside)
            absent = [key for key in found if not leaves_root(key) and not is_file(base / key)]
            problems += several(f"{split}: no such file:", absent)
        splits = {
            split: Split(tuple(found), nodes_of(taxonomy, split, labels[split], problems))
            for split, found in keys.items()
        }
        if self.draw and "train" in splits:
            problems += several("listed more than once:", repeated(splits["train"].keys))
            splits = self.draw.of(splits, "train")
        return Table(taxonomy, splits, Files(base))

    def _rows(self, root: Path, card: DataCard, problems: list[str]) -> Iterator[tuple[str, dict[str, str], str]]:
        """Split, cells by column, and place of every row."""
        drawn = self.draw is not None and self.draw.test > 0
        tables = self.files or {"train" if drawn else "": self.samples or self.file}
        home = root if self.samples is None else card.path.parent
        if outside := [f"{name} leaves the root" for name in tables.values() if leaves_root(name)]:
            raise UserError(f"{card.path}: layout: a table must lie below the root", outside)
        if unknown := [f"{name}: unknown split{nearest(name, SPLITS)}" for name in self.files if name not in SPLITS]:
            raise UserError(f"{card.path}: layout.files names splits there are not", unknown)
        if absent := [f"no file {name}" for name in tables.values() if not is_file(home / name)]:
            raise UserError(f"{home} has not the tables of the card", absent, f"To get the data: {card.obtain}")
        wanted = (self.path, *self.label, *(() if self.files or drawn else (self.split,)))
        for fixed, name in tables.items():
            lines = read_rows(home / name, self.delimiter)
            _, header = (0, list(self.columns)) if self.columns else next(lines, (0, []))
            if twice := repeated([column for column in header if column in wanted]):
                raise UserError(f"{home / name}: two columns have the name {' and '.join(map(repr, twice))}")
            if lacking := [
                f"no column {column!r}{nearest(column, header)}" for column in wanted if column not in header
            ]:
                raise UserError(
                    f"{home / name} has not the columns the card names",
                    lacking,
                    "Mend layout.path, label or split in the card; layout.columns if the file has no header.",
                )
            for line, cells in lines:
                where = f"{name}:{line}"
                if len(cells) != len(header):
                    problems.append(f"{where}: {len(cells)} cells, expected {len(header)}")
                    continue
                row = dict(zip(header, cells, strict=True))
                split = fixed or self.splits.get(row[self.split], row[self.split])
                if split not in SPLITS:
                    problems.append(f"{where}: unknown split {split!r}{nearest(split, SPLITS)}")
                elif not row[self.path]:
                    problems.append(f"{where}: the path is empty")
                else:
                    if self.images is None and not posixpath.isabs(row[self.path]):
                        row[self.path] = posixpath.join(posixpath.dirname(name), row[self.path])
                    yield split, row, where

    def _label(
        self, row: Mapping[str, str], classes: Sequence[tuple[str, ...]] | None, known: Mapping[str, str]
    ) -> tuple[Label, str]:
        """The label of a row, and what is wrong with it."""
        cells = [row[column] for column in self.label]
        if classes is None:
            cells = list(respelled(cells, self.names, known))
        while cells and not cells[-1]:
            cells.pop()
        if not cells:
            return "", "the label is empty"
        if classes is not None:
            if not cells[0].isdecimal() or int(cells[0]) >= len(classes):
                return "", f"label {cells[0]!r} is none of the class numbers 0 … {len(classes) - 1}"
            return classes[int(cells[0])], ""
        if len(self.label) > 1:
            return tuple(cells), ""
        # The tree itself reads "/", since names may hold one.
        if self.separator == "/":
            return cells[0], ""
        return respelled(cells[0].split(self.separator), self.names, known), ""


def read_rows(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """As `read_csv`; a file of JSON lines gives a header of all its keys, and a row for each object."""
    if path.suffix.lower() not in (".jsonl", ".ndjson"):
        yield from read_csv(path, delimiter)
        return
    rows = list(_objects(path))
    header = list(dict.fromkeys(key for _, row in rows for key in row))
    yield 0, header
    for line, row in rows:
        yield line, [_cell(row.get(key)) for key in header]


def _objects(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if not line.strip():
                    continue
                row = json.loads(line)
                if not isinstance(row, dict):
                    raise UserError(f"{path}: line {number} is no JSON object")
                yield number, row
    except (OSError, ValueError, RecursionError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: cannot be read: {error}") from error


def _cell(value: object) -> str:
    """A value as the cell of a table: nothing is empty, a list of names is a path."""
    if value is None:
        return ""
    if isinstance(value, list):
        return "/".join(map(_cell, value))
    return value.strip() if isinstance(value, str) else str(value)


def read_csv(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of each row that is not blank; raises `UserError` naming the file."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
            for row in rows:
                if row:
                    yield rows.line_num, [cell.strip() for cell in row]
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read: it is not UTF-8: {error}", hint="Save it as UTF-8.") from error
    except (OSError, csv.Error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def _class_names(path: Path) -> list[tuple[str, ...]]:
    return [tuple(cell for cell in row if cell) for _, row in read_csv(path)][1:]
