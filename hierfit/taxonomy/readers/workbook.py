"""Excel workbooks, by openpyxl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.readers.table import Table


def read_workbook(path: Path, source: str, select: str | int | None) -> Table:
    """The cells of one sheet; merged ones all hold what is written over them.

    Raises:
        UserError: openpyxl is not there, the file is damaged, or it has several sheets and none is chosen.
    """
    try:
        from openpyxl import load_workbook
    except ImportError:
        hint = "Save the sheet as CSV (UTF-8), or `pip install 'hierfit[xlsx]'` to read it as it is."
        raise UserError(f"{source}: this is an Excel workbook, and openpyxl is not installed", hint=hint) from None
    try:
        book = load_workbook(path, data_only=True)
        sheets = [sheet for sheet in book.worksheets if sheet.max_row > 1 or sheet.max_column > 1]
        table = _table(_chosen(sheets, source, select))
    except UserError:
        raise
    except Exception as error:  # openpyxl raises whatever a damaged part brings up
        hint = "Save the sheet as CSV (UTF-8)."
        raise UserError(f"{source}: the Excel workbook cannot be read: {error}", hint=hint) from None
    if not table.rows:
        raise UserError(f"{source}: the sheet is empty")
    return table


def _chosen(sheets: list[Any], source: str, select: str | int | None) -> Any:
    if isinstance(select, int):
        return sheets[select]
    titles = [sheet.title for sheet in sheets]
    if select is None and len(sheets) == 1:
        return sheets[0]
    if select not in titles:
        what = f"there is no sheet {select!r}" if select else f"the workbook has {len(sheets)} sheets with cells"
        raise UserError(f"{source}: {what}: choose one of {', '.join(titles)}", hint="Name it by --select.")
    return sheets[titles.index(select)]


def _table(sheet: Any) -> Table:
    cells = [[_text(value) for value in row] for row in sheet.iter_rows(values_only=True)]
    for merged in sheet.merged_cells.ranges:
        left, top, right, bottom = merged.bounds
        for row in range(top - 1, min(bottom, len(cells))):
            cells[row][left - 1 : right] = [cells[top - 1][left - 1]] * (right - left + 1)
    kept = [number for number, row in enumerate(cells) if any(row)]
    return Table(
        [cells[i] for i in kept], tuple(i + 1 for i in kept), f"sheet {sheet.title!r} of an Excel workbook", True, "row"
    )


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
