"""Tables of pictures in whatever file people have them (CSV and its kin, workbooks, JSON), as columns of text."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

from hierfit.errors import UserError
from hierfit.tools.new.exports import names_picture, records_of

TABLES = (".csv", ".tsv", ".jsonl", ".ndjson", ".txt", ".json", ".xlsx")
_LINES = (".jsonl", ".ndjson")
_DELIMITERS = (",", "\t", ";", "|")
_LOOKED_AT = 200  # rows, to find out what a column holds

Columns = dict[str, list[str]]


@dataclass(frozen=True)
class Records:
    """One table.

    Attributes:
        path: The file.
        columns: Cells by the name of their column, all of one length.
        splits: The split of each row by its own name, where the file groups rows by split.
        delimiter: Between cells, for a text table.
        header: Names given to the columns of a table without a header.
        plain: Whether the layout ``manifest`` reads the file.
        remarks: What was found out about it.
    """

    path: Path
    columns: Columns
    splits: list[str] | None = None
    delimiter: str = ","
    header: list[str] = field(default_factory=list)
    plain: bool = False
    remarks: list[str] = field(default_factory=list)


def read_records(path: Path, most: int | None = None) -> Records:
    """The rows of a file, all or the first so many.

    Raises:
        UserError: It cannot be read, or is no table.
    """
    suffix = path.suffix.lower()
    if suffix == ".xlsx":
        return _gathered(path, islice(_workbook(path), most))
    text, remarks = _text(path)
    if suffix == ".json" or (suffix in _LINES and text.lstrip().startswith("[")):
        try:
            export = records_of(json.loads(text))
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: cannot be read: {error}") from error
        if export is None:
            raise UserError(
                f"{path} is no list of pictures that is known here",
                hint="COCO, Label Studio and CoOp are; and lists of records, and {picture: label}.",
            )
        return _gathered(path, islice(export.rows, most), [*remarks, *export.remarks], export.splits)
    if suffix in _LINES:
        return _gathered(path, islice(_objects(path, text), most), remarks, plain=not remarks)
    delimiter, header = _form(path, text)
    lines = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    try:
        rows = [[cell.strip() for cell in row] for row in islice(lines, None if most is None else most + 1) if row]
    except csv.Error as error:
        raise UserError(f"{path}: cannot be read: {error}") from error
    names = header or (rows.pop(0) if rows else [])
    unique = [name if names.count(name) == 1 else f"{name}#{i + 1}" for i, name in enumerate(names)]
    whole = [row for row in rows if len(row) == len(names)]
    if odd := len(rows) - len(whole):
        remarks.append(f"{odd} lines of {path.name} have not {len(names)} cells; they are passed over.")
    columns = {name: [row[i] for row in whole] for i, name in enumerate(unique)}
    plain = not remarks and unique == names
    return Records(path, columns, None, delimiter, header, plain, remarks)


def _gathered(
    path: Path,
    rows: Iterable[Mapping[str, str]],
    remarks: list[str] | None = None,
    splits: list[str] | None = None,
    plain: bool = False,
) -> Records:
    found = list(rows)
    names = list(dict.fromkeys(name for row in found for name in row))
    columns = {name: [row.get(name, "") for row in found] for name in names}
    return Records(path, columns, splits[: len(found)] if splits else None, plain=plain, remarks=remarks or [])


def _text(path: Path) -> tuple[str, list[str]]:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error
    for encoding in ("utf-16",) if content[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" in text:
            break
        return text, [] if encoding == "utf-8-sig" else [f"{path.name} is read as {encoding}: it is not UTF-8."]
    raise UserError(f"{path}: cannot be read: it is no text in UTF-8", hint="Save it as UTF-8.")


def _objects(path: Path, text: str) -> Iterator[dict[str, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        if line.strip():
            try:
                export = records_of([json.loads(line)])
            except (ValueError, RecursionError) as error:
                raise UserError(f"{path}: line {number}: cannot be read: {error}") from error
            if export is None:
                raise UserError(f"{path}: line {number} is no JSON object")
            yield from export.rows


def _workbook(path: Path) -> Iterator[dict[str, str]]:
    """The first sheet of an Excel workbook; its first row names the columns."""
    try:
        from openpyxl import load_workbook
    except ImportError as error:
        raise UserError(
            f"{path} is an Excel workbook, which the package openpyxl reads; it is not installed",
            hint="pip install openpyxl, or save the sheet as CSV (UTF-8).",
        ) from error
    try:
        sheet = load_workbook(path, read_only=True, data_only=True).worksheets[0]
        rows: Iterator[Sequence[Any]] = sheet.iter_rows(values_only=True)
        names = [str(cell or "").strip() for cell in next(rows, ())]
        for row in rows:
            if any(cell is not None for cell in row):
                cells = ("" if cell is None else str(cell).strip() for cell in row)
                yield dict(zip(names, cells, strict=False))
    except Exception as error:  # of zip, of XML, of openpyxl
        raise UserError(f"{path}: this workbook cannot be read: {error}", hint="Save the sheet as CSV.") from error


def _form(path: Path, text: str) -> tuple[str, list[str]]:
    """The delimiter, and names for the columns of a table without a header (else none)."""
    lines = list(islice(io.StringIO(text), _LOOKED_AT))
    delimiter = max(_DELIMITERS, key=lambda sign: _agreement(lines, sign))
    if delimiter != "\t" and not _agreement(lines, delimiter):
        raise UserError(f"{path} is no table: its lines have no columns in common", hint="Divide columns by commas.")
    head = next(csv.reader(lines[:1], delimiter=delimiter, skipinitialspace=True), [])
    if any(map(names_picture, head)):  # no header
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
