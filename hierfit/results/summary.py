"""Several seeds as one table in the terminal, however wide it is."""

from __future__ import annotations

from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.results.card import ResultCard
from hierfit.results.group import Group, summarise
from hierfit.results.sheet import HELPS, HURTS, READING, READING_DIFFERENCES, Sheet, sheets
from hierfit.results.table import GAP, side_by_side

_STYLES = {HELPS: "green", HURTS: "red"}


def print_summary(
    cards: Sequence[ResultCard],
    *,
    control: str | None = None,
    columns: str = "default",
    console: Console | None = None,
) -> None:
    """Prints a table for each data set, number of shots and backbone; rows are methods, figures means over seeds.

    Args:
        cards: Of any runs.
        control: Row to which paired differences are printed.
        columns: Presets and column names, parted by commas.
        console: Where to; its width decides how many columns stand side by side.

    Raises:
        UserError: See `hierfit.results.group.summarise`.
    """
    print_groups(summarise(cards, control, columns), console)


def print_groups(groups: Sequence[Group], console: Console | None = None) -> None:
    """Prints groups that are made already; see `print_summary`."""
    console = console or Console()
    for group in groups:
        for sheet in sheets(group):
            print_sheet(sheet, console)
        for note in group.notes:
            console.print(Text(f"Note: {note}", "yellow"))
    console.print()
    compared = any(group.control for group in groups)
    console.print(Text(f"{READING} {READING_DIFFERENCES}" if compared else READING, "dim"))


def print_sheet(sheet: Sheet, console: Console) -> None:
    """Prints a sheet; columns that do not fit beside the others follow below, under the rows' names again."""
    console.print()
    console.print(Text(sheet.title, "dim"))
    for number, block in enumerate(_blocks(sheet, console.width)):
        if number:
            console.print()
        console.print(_table(sheet, block, console.width))


def _table(sheet: Sheet, block: Sequence[int], width: int) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
    table.add_column(Text(sheet.header[0]), overflow="fold", width=_name_width(sheet, width))
    for index in block:
        table.add_column(Text(sheet.header[index]), justify="right", no_wrap=True)
    for row in sheet.rows:
        table.add_row(Text(row[0]), *(Text(row[i], _STYLES.get(row[i][-1:], "")) for i in block))
    return table


def _blocks(sheet: Sheet, width: int) -> list[list[int]]:
    """Columns that fit side by side beside the rows' names; at least one each."""
    widths = [max(len(cells[index]) for cells in (sheet.header, *sheet.rows)) for index in range(1, len(sheet.header))]
    return [[index + 1 for index in block] for block in side_by_side(widths, width - _name_width(sheet, width))]


def _name_width(sheet: Sheet, width: int) -> int:
    return min(max(len(row[0]) for row in (sheet.header, *sheet.rows)), max(8, 3 * width // 10))
