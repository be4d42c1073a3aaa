"""Files of records as data sets come with them: lines, tables, JSON."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from hierfit.errors import UserError


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank; raises `UserError` naming the file."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if text := line.strip():
                    yield number, text
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read: {error}") from error


def read_fields(path: Path, count: int, problems: list[str]) -> Iterator[tuple[str, list[str]]]:
    """Place (``images.txt:3``) and fields of each line, the last of which takes the rest of it.

    Lines with another number of fields become problems; raises `UserError` naming a file that cannot be read.
    """
    for number, text in read_lines(path):
        fields = text.split(None, count - 1)
        if len(fields) == count:
            yield f"{path.name}:{number}", fields
        else:
            problems.append(f"{path.name}:{number}: {len(fields)} fields, expected {count}")


def read_pairs(path: Path, problems: list[str]) -> dict[str, str]:
    """A file of ``id value`` lines, such as a list of classes; ids given twice become problems."""
    pairs: dict[str, str] = {}
    for where, (key, value) in read_fields(path, 2, problems):
        if key in pairs:
            problems.append(f"{where}: {key!r} is given twice")
        pairs[key] = value
    return pairs


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


def read_json(path: Path, kind: Any) -> Any:
    """What a JSON file holds, which must be of a type, to the last row; raises `UserError` naming what is not."""
    from pydantic import TypeAdapter, ValidationError  # here: few data sets come with JSON

    try:
        return TypeAdapter(kind).validate_json(path.read_bytes(), strict=True)
    except ValidationError as error:
        raise UserError(f"{path}: not valid JSON, or not of this form", _faults(error)) from error
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}") from error


def checked(value: object, kind: Any, what: str) -> Any:
    """A value that must be of a type, to the last row (5.0 is a whole number); raises `UserError` as `read_json`."""
    from pydantic import TypeAdapter, ValidationError

    try:
        return TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        raise UserError(f"{what} is not of this form", _faults(error)) from error


def _faults(error: Any) -> list[str]:
    """Place and fault of each: ``images.3.id: Input should be a valid integer``."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    return [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ") for fault in found]


def _objects(path: Path) -> Iterator[tuple[int, dict[str, object]]]:
    for number, line in read_lines(path):
        try:
            row = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}: cannot be read: line {number}: {error}") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}: line {number} is no JSON object")
        yield number, row


def _cell(value: object) -> str:
    """A value as the cell of a table: nothing is empty, a list of names is a path."""
    if value is None:
        return ""
    if isinstance(value, list):
        return "/".join(map(_cell, value))
    return str(value).strip()
