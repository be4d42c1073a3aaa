"""Text files of one record a line, as data sets come with them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

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


def read_fields(
    path: Path, count: int, problems: list[str], separator: str | None = None
) -> Iterator[tuple[str, list[str]]]:
    """Place (``images.txt:3``) and fields of each line; the last field takes the rest of the line.

    Args:
        path: The file.
        count: Fields a line must have; others become problems.
        problems: Faults are added here.
        separator: Between fields; None for spaces and tabs, however many.

    Raises:
        UserError: The file cannot be read.
    """
    for number, text in read_lines(path):
        where = f"{path.name}:{number}"
        fields = [field.strip() for field in text.split(separator, count - 1)]
        if len(fields) == count:
            yield where, fields
        else:
            problems.append(f"{where}: {len(fields)} fields, expected {count}")


def read_table_of(path: Path, problems: list[str]) -> dict[str, str]:
    """A file of ``id value`` lines, such as a list of classes; ids given twice become problems.

    Raises:
        UserError: The file cannot be read.
    """
    table: dict[str, str] = {}
    for where, (key, value) in read_fields(path, 2, problems):
        if key in table:
            problems.append(f"{where}: {key!r} is given twice")
        table[key] = value
    return table
