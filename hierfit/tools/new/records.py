"""Tables of pictures in whatever file people have them (CSV and its kin, workbooks, JSON), as columns of text."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hierfit.errors import UserError
from hierfit.taxonomy.readers.source import Source
from hierfit.tools.new.exports import LINES, names_picture, read_export

TABLES = (".csv", ".tsv", ".txt", ".json", *LINES, ".xlsx")

Columns = dict[str, list[str]]


@dataclass(frozen=True)
class Records:
    """One table.

    Attributes:
        path: The file.
        columns: Cells by the name of their column, all of one length.
        splits: The split of each row by its own name, where the file groups rows by split.
        has_header: Whether the names of the columns stand in the file.
        remarks: What was found out about it.
    """

    path: Path
    columns: Columns
    splits: Sequence[str] | None = None
    has_header: bool = True
    remarks: list[str] = field(default_factory=list)

    @property
    def names_pictures(self) -> bool:
        """Whether some column holds names of pictures."""
        return any(any(map(names_picture, cells)) for cells in self.columns.values())


Read = Callable[[Path], Records]


def read_records(path: Path) -> Records:
    """The rows of a file.

    Raises:
        UserError: It cannot be read, or is no table.
    """
    source = Source.of(path, select=0)
    remarks = [f"{path.name}: {finding}." for finding in source.findings]
    if path.suffix.lower() in (".json", *LINES):
        export = read_export(path, source.text)
        names = list(dict.fromkeys(name for row in export.rows for name in row))
        columns = {name: [row.get(name, "") for row in export.rows] for name in names}
        return Records(path, columns, export.splits, True, remarks + export.remarks)
    rows = [[str(cell).strip() for cell in row] for row in source.table.rows]
    if source.table.width < 2 and source.sheet is None:
        raise UserError(f"{path} is no table: its lines have no columns in common", hint="Divide columns by commas.")
    has_header = not any(map(names_picture, rows[0]))
    names = rows.pop(0) if has_header else [f"column{i + 1}" for i in range(len(rows[0]))]
    unique = [name if names.count(name) == 1 else f"{name}#{i + 1}" for i, name in enumerate(names)]
    whole = [row for row in rows if len(row) == len(names)]
    if odd := len(rows) - len(whole):
        lines = f"{odd} line of {path.name} has" if odd == 1 else f"{odd} lines of {path.name} have"
        remarks.append(f"{lines} not {len(names)} cells; left out.")
    return Records(path, {name: [row[i] for row in whole] for i, name in enumerate(unique)}, None, has_header, remarks)
