"""Excel workbooks, by openpyxl."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hierfit.errors import UserError
from hierfit.taxonomy.readers.table import Table


def read_workbook(path: Path, select: str | int | None) -> Table:
    """The cells of one sheet, by its name or number; merged ones all hold what is written over them.

    Raises:
        UserError: openpyxl is not there, the file is damaged, or it has several sheets and none is chosen.
    """
    try:
        from openpyxl import load_workbook
    except ImportError:
        hint = "Save the sheet as CSV (UTF-8), or `pip install 'hierfit[xlsx]'` to read it as it is."
        raise UserError(f"{path}: this is an Excel workbook, and openpyxl is not installed", hint=hint) from None
    try:
        book = load_workbook(path, data_only=True)
        sheets = {sheet.title: sheet for sheet in book.worksheets if sheet.max_row > 1 or sheet.max_column > 1}
        select = list(sheets)[select] if isinstance(select, int) else select
        chosen = sheets.get(select) if select is not None else next(iter(sheets.values())) if len(sheets) == 1 else None
        table = None if chosen is None else _table(chosen)
    except Exception as error:  # openpyxl raises whatever a damaged part brings up
        hint = "Save the sheet as CSV (UTF-8)."
        raise UserError(f"{path}: the Excel workbook cannot be read: {error}", hint=hint) from None
    if table is None:
        what = f"there is no sheet {select!r}" if select else f"the workbook has {len(sheets)} sheets with cells"
        raise UserError(f"{path}: {what}: choose one of {', '.join(sheets)}", hint="Name it by --select.")
    if not table.rows:
        raise UserError(f"{path}: the sheet is empty")
    return table


def _table(sheet: Any) -> Table:
    cells = [[_text(value) for value in row] for row in sheet.iter_rows(values_only=True)]
    for merged in sheet.merged_cells.ranges:
        left, top, right, bottom = merged.bounds
        for row in range(top - 1, min(bottom, len(cells))):
            cells[row][left - 1 : right] = [cells[top - 1][left - 1]] * (right - left + 1)
    kept = [number for number, row in enumerate(cells) if any(row)]
    what = f"sheet {sheet.title!r} of an Excel workbook"
    return Table([cells[i] for i in kept], [i + 1 for i in kept], what, True, "row")


def _text(value: object) -> str:
    if value is None:
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
