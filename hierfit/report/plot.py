"""``hierfit plot``: a figure of finished runs over the number of shots, from their result cards alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from hierfit.atomic import whole_file
from hierfit.config.command import Say
from hierfit.errors import UserError
from hierfit.report.style import MARKERS, MUTED, PALETTE, SMALL, furnish, legend_below
from hierfit.results.card import ResultCard
from hierfit.results.runs import read_cards
from hierfit.results.summary import tables
from hierfit.results.table import Column, Estimate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Shots = int | None
"""None for all training images."""

_STAMPS: dict[str, dict[str, None]] = {".svg": {"Date": None}, ".png": {}, ".pdf": {"CreationDate": None}}
_FLAT_DASHES = ((4, 2), (1, 1.5), (6, 2, 1, 2))
_ACROSS = 3  # panels side by side
_SAME_LINE = 5e-4  # fractions closer than this are drawn on one line


class RowOverShots(NamedTuple):
    """One row in one panel: what was measured at how many shots, ascending.

    It is flat where nothing is trained, and neither shots nor seeds change anything.
    """

    name: str
    points: list[tuple[Shots, Estimate]]
    is_flat: bool


class Panel(NamedTuple):
    """Rows that may be compared: same data, protocol and backbone."""

    title: str
    column: Column
    rows: list[RowOverShots]
    notes: list[str]


def plot(
    runs: Annotated[list[Path], Say("run folders (controls inside are found)", "RUN")],
    *,
    out: Annotated[Path, Say(", ".join(_STAMPS), "FILE")],
    column: Annotated[str, Say("such as fpa@best_path (leaf_accuracy)")] = "leaf_accuracy",
) -> None:
    """Draw a metric of finished runs over shots, with 95 % t-intervals: a panel a data card, a line a row."""
    if out.suffix not in _STAMPS:
        raise UserError(f"{out}: a plot is written as {', '.join(_STAMPS)}.")
    drawn = panels(read_cards(runs), column)
    figure = draw_panels(drawn)
    from matplotlib import rc_context

    # The same cards give the same file.
    with whole_file(out) as draft, rc_context({"svg.hashsalt": "hierfit"}):
        figure.savefig(draft, format=out.suffix[1:], dpi=200, metadata=_STAMPS[out.suffix])
    for note in dict.fromkeys(note for panel in drawn for note in panel.notes):
        print(f"Note: {note}")
    print(f"Written to {out}")


def panels(cards: Sequence[ResultCard], choice: str) -> list[Panel]:
    """What is to be drawn of cards of any runs, data cards in the order of their names.

    ``choice`` is one column, see `hierfit.results.columns.columns`. Raises `UserError` where there is none such,
    or a panel would hold a row twice at the same shots.
    """
    apart: dict[tuple[str, str, str], list[ResultCard]] = {}
    for card in cards:
        protocol = str(card.data.get("protocol", "all classes"))
        apart.setdefault((str(card.data.get("card")), protocol, str(card.backbone.get("source"))), []).append(card)
    # A part of the name that all panels share says nothing.
    differing = [i for i in range(3) if i == 0 or len({key[i] for key in apart}) > 1]
    found = [_panel(" · ".join(key[i] for i in differing), apart[key], choice) for key in sorted(apart)]
    if not any(panel.rows for panel in found):
        raise UserError(f"No run has a figure for {choice!r}.")
    return [panel for panel in found if panel.rows]


def _panel(title: str, cards: Sequence[ResultCard], choice: str) -> Panel:
    made = tables(cards, choice=choice)  # ascending in shots
    column, *others = (column for column in made[0].columns if column.is_figure)
    if others:
        names = ", ".join(shown.key for shown in (column, *others))
        raise UserError("A plot shows one column.", hint=f"Choose one of {names}.")
    rows, trained = dict[str, dict[Shots, Estimate | None]](), set[str]()
    for table in made:
        shots = table.facts["shots"]
        for name in (str(row[0].value) for row in table.rows):
            if shots in rows.setdefault(name, {}):
                where = "all images" if shots is None else f"{shots} shots"
                raise UserError(
                    f"{title}: {name!r} was run twice at {where}, on other data or towers.",
                    hint="Name only the runs that belong together, or tell them apart with --row.",
                )
            cells = table.row(name)
            cell, number = cells[column.key], cells[column.key].number
            found = cell.value if isinstance(cell.value, Estimate) else None
            if found is None and number is not None:  # a paper prints no interval
                found = Estimate(number, math.nan, cell.of or 1)
            rows[name][shots] = found
            trained |= {name} if cells["selected_on"].value != "nothing" else set()
    over_shots = []
    for name, by_shots in rows.items():
        points = [(shots, estimate) for shots, estimate in by_shots.items() if estimate is not None]
        means, widths = [estimate.mean for _, estimate in points], [estimate.half_width for _, estimate in points]
        # One number of shots does not say what others would change: closed forms read them without a step of training.
        still = len(means) > 1 and max(means) - min(means) < _SAME_LINE and not any(w > _SAME_LINE for w in widths)
        over_shots += [RowOverShots(name, points, still and name not in trained)] if points else []
    notes = [f"{title}, {_tick(table.facts['shots'])}: {note}" for table in made for note in table.notes]
    return Panel(title, column, over_shots, notes)


def _tick(shots: Shots) -> str:
    return "all" if shots is None else str(shots)


def draw_panels(shown: Sequence[Panel]) -> Figure:
    """A figure of the panels, with one legend below them."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("Plots need matplotlib.", hint='pip install -c constraints.txt -e ".[plot]"') from None
    down = math.ceil(len(shown) / _ACROSS)
    across = math.ceil(len(shown) / down)
    every = [row for panel in shown for row in panel.rows]
    # A row looks alike in all panels; one that rises anywhere is drawn as such in the legend.
    rising = list(dict.fromkeys(row.name for row in every if not row.is_flat))
    flat = [name for name in dict.fromkeys(row.name for row in every) if name not in rising]
    order = [*rising, *flat]
    columns = min(len(order), max(2, 2 * across))
    size = max(4.2, 3.3 * across), 2.8 * down + 0.3 + 0.18 * math.ceil(len(order) / columns)  # inches
    figure = Figure(figsize=size, layout="constrained")
    # In grey, markers tell rows apart, filled and open in turn.
    looks = dict(zip(rising, zip(cycle(PALETTE), cycle(MARKERS), cycle((True, False)), strict=False), strict=False))
    dashes = dict(zip(flat, cycle(_FLAT_DASHES), strict=False))
    handles: dict[str, Any] = {}
    for number, panel in enumerate(shown):
        axes, column = figure.add_subplot(down, across, number + 1), panel.column
        height = 100 if column.unit == "%" else 1
        # Shots in powers of two; all images stand one step beyond the most shots.
        counts = sorted({shots for row in panel.rows for shots, _ in row.points if shots is not None})
        places: dict[Shots, float] = {shots: math.log2(shots) for shots in counts}
        if any(shots is None for row in panel.rows for shots, _ in row.points):
            places[None] = max(places.values(), default=-1.0) + 1
        beside = [row.name for row in panel.rows if row.name in looks]
        for row in panel.rows:
            if row.name in dashes:
                look: dict[str, Any] = {"color": MUTED, "dashes": dashes[row.name], "lw": 1.3, "zorder": 1}
                handles[row.name] = axes.axhline(row.points[0][1].mean * height, **look)
                continue
            # Bars of different rows stand beside, not upon, each other.
            aside = 0.05 * (beside.index(row.name) - (len(beside) - 1) / 2)
            widths = [0.0 if math.isnan(e.half_width) else e.half_width * height for _, e in row.points]
            colour, marker, filled = looks[row.name]
            look = {"color": colour, "marker": marker, "markerfacecolor": colour if filled else "white"}
            handles[row.name] = axes.errorbar(
                [places[shots] + aside for shots, _ in row.points],
                [e.mean * height for _, e in row.points],
                yerr=widths if any(widths) else None,
                **{**look, "markersize": 5, "linewidth": 1.4, "elinewidth": 1, "capsize": 2},
            )
        furnish(axes, x="shots a leaf", y="" if number % across else f"{column.header} [{column.unit}]")
        axes.set_title(panel.title, fontsize=SMALL + 0.5)
        axes.set_xticks(list(places.values()), list(map(_tick, places)))
        axes.set_xlim(min(places.values()) - 0.35, max(places.values()) + 0.35)
        axes.locator_params(axis="y", nbins=6, steps=[1, 2, 5, 10])
        if column.unit == "%":  # an interval of two seeds may reach beyond what a share can be
            low, high = axes.get_ylim()
            axes.set_ylim(max(low, 0), min(high, 100.5))
    # A legend fills column by column; this one reads line by line.
    order = [name for start in range(columns) for name in order[start::columns]]
    title: dict[str, Any] = {"title": "mean and 95 % t-interval over seeds", "title_fontsize": SMALL} if rising else {}
    legend_below(figure, columns, handles=[handles[name] for name in order], labels=order, **title)
    return figure
