"""Files of records as data sets come with them: lines, tables, JSON."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from hierfit.errors import UserError, nearest, reading

JSON_LINES = (".jsonl", ".ndjson")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """Number and text of each line that is not blank; raises `UserError` naming the file."""
    with reading(path), path.open(encoding="utf-8-sig") as file:
        for number, line in enumerate(file, 1):
            if text := line.strip():
                yield number, text


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


def read_rows(path: Path, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """Line number and stripped cells of each row that is not blank; raises `UserError` naming the file.

    A file of JSON lines gives a header of all its keys, and a row for each object.
    """
    if path.suffix.lower() in JSON_LINES:
        objects = [(number, _parsed(text, dict[str, Any], f"{path}:{number}")) for number, text in read_lines(path)]
        header = list(dict.fromkeys(key for _, row in objects for key in row))
        yield 0, header
        yield from ((number, [_json_cell(row.get(key)) for key in header]) for number, row in objects)
        return
    with reading(path, csv.Error), path.open(encoding="utf-8-sig", newline="") as file:
        rows = csv.reader(file, delimiter=delimiter, skipinitialspace=True)
        yield from ((rows.line_num, [cell.strip() for cell in row]) for row in rows if row)


def read_by_column(
    path: Path, wanted: Sequence[str], delimiter: str = ",", header: Sequence[str] = ()
) -> Iterator[tuple[int, dict[str, str], str]]:
    """Line and cells by column of each row, and what is wrong with it; the header is the first row if none is given.

    Raises:
        UserError: The file cannot be read, or a column that is wanted is missing or there twice.
    """
    rows = read_rows(path, delimiter)
    header = header or next(rows, (0, []))[1]
    problems = [f"{path.name}: no column {name!r}{nearest(name, header)}" for name in wanted if name not in header]
    problems += [f"{path.name}: two columns have the name {name!r}" for name in wanted if header.count(name) > 1]
    if problems:
        raise UserError(f"{path} has not the columns that are read", problems)
    for line, cells in rows:
        fault = "" if len(cells) == len(header) else f"{len(cells)} cells, expected {len(header)}"
        yield line, dict(zip(header, cells, strict=False)), fault


def read_typed(path: Path, kind: Any) -> Any:
    """What a JSON file holds, which must be of a type, to the last row; raises `UserError` naming what is not."""
    with reading(path):
        content = path.read_bytes()
    return _parsed(content, kind, f"{path}: not valid JSON, or")


def checked(value: object, kind: Any, what: str) -> Any:
    """A value that must be of a type, to the last row (5.0 is a whole number); raises `UserError` as `read_typed`."""
    return _validated(kind, "validate_python", value, what)


def _parsed(text: str | bytes, kind: Any, what: str) -> Any:
    return _validated(kind, "validate_json", text, what, strict=True)


def _validated(kind: Any, how: str, value: object, what: str, **options: bool) -> Any:
    """What pydantic makes of a value; raises `UserError` with each fault's place: ``images.3.id: …``."""
    from pydantic import TypeAdapter, ValidationError  # here: few data sets need it

    try:
        return getattr(TypeAdapter(kind), how)(value, **options)
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        faults = [f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}".removeprefix(": ") for fault in found]
        raise UserError(f"{what} is not of this form", faults) from error


def _json_cell(value: object) -> str:
    """Nothing is empty, a list of names is a path."""
    if isinstance(value, list):
        return "/".join(map(_json_cell, value))
    return "" if value is None else str(value).strip()
