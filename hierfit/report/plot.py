"""``hierfit plot``: a figure of finished runs over the number of shots, from their result cards alone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from hierfit.atomic import whole_file
from hierfit.config.command import Say
from hierfit.errors import UserError
from hierfit.report.style import MARKERS, MUTED, PALETTE, SMALL, furnish, legend_below
from hierfit.results.card import ResultCard
from hierfit.results.runs import read_cards
from hierfit.results.summary import tables
from hierfit.results.table import Cell, Column, Estimate

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Shots = int | None
"""None for all training images."""

_PLOT_SUFFIXES = (".svg", ".png", ".pdf")
_FLAT_DASHES = ((4, 2), (1, 1.5), (6, 2, 1, 2))
_ACROSS = 3  # panels side by side
_SAME_LINE = 5e-4  # fractions closer than this are drawn on one line


@dataclass(frozen=True)
class RowOverShots:
    """One row in one panel: what was measured at how many shots, ascending.

    It is flat where nothing is trained, and neither shots nor seeds change anything.
    """

    name: str
    points: tuple[tuple[Shots, Estimate], ...]
    is_flat: bool


@dataclass(frozen=True)
class Panel:
    """Rows that may be compared: same data, protocol and backbone."""

    title: str
    column: Column
    rows: tuple[RowOverShots, ...]
    notes: tuple[str, ...] = ()


def plot(
    runs: Annotated[list[Path], Say("run folders (controls inside are found)", "RUN")],
    *,
    out: Annotated[Path, Say(", ".join(_PLOT_SUFFIXES), "FILE")],
    column: Annotated[str, Say("such as fpa@best_path (leaf_accuracy)")] = "leaf_accuracy",
) -> None:
    """Draw a metric of finished runs over shots, with 95 % t-intervals: a panel a data card, a line a row."""
    if out.suffix not in _PLOT_SUFFIXES:
        raise UserError(f"{out}: a plot is written as {', '.join(_PLOT_SUFFIXES)}.")
    drawn = panels(read_cards(runs), column)
    figure = draw_panels(drawn)
    from matplotlib import rc_context

    # The same cards give the same file.
    with whole_file(out) as draft, rc_context({"svg.hashsalt": "hierfit"}):
        stamp = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}.get(out.suffix)
        figure.savefig(draft, format=out.suffix[1:], dpi=200, metadata=stamp)
    for note in dict.fromkeys(note for panel in drawn for note in panel.notes):
        print(f"Note: {note}")
    print(f"Written to {out}")


def panels(cards: Sequence[ResultCard], choice: str) -> tuple[Panel, ...]:
    """What is to be drawn, data cards in the order of their names.

    Args:
        cards: Of any runs.
        choice: One column, see `hierfit.results.columns.columns`.

    Raises:
        UserError: The column does not exist, is several, or no card has it; a panel would hold a row twice at the
            same shots; or see `hierfit.results.summary.tables`.
    """
    apart: dict[tuple[str, str, str], list[ResultCard]] = {}
    for card in cards:
        protocol = str(card.data.get("protocol", "all classes"))
        apart.setdefault((str(card.data.get("card")), protocol, str(card.backbone.get("source"))), []).append(card)
    keys = sorted(apart)
    # A part of the name that all panels share says nothing.
    differing = [i for i in range(3) if i == 0 or len({key[i] for key in keys}) > 1]
    found = [_panel(" · ".join(key[i] for i in differing), apart[key], choice) for key in keys]
    if not any(panel.rows for panel in found):
        raise UserError(f"No run has a figure for {choice!r}.")
    return tuple(panel for panel in found if panel.rows)


def _panel(title: str, cards: Sequence[ResultCard], choice: str) -> Panel:
    made = tables(cards, choice=choice)
    column, *others = (column for column in made[0].columns if column.is_figure)
    if others:
        names = ", ".join(shown.key for shown in (column, *others))
        raise UserError("A plot shows one column.", hint=f"Choose one of {names}.")
    rows: dict[str, dict[Shots, Mapping[str, Cell]]] = {}
    for table in made:
        shots = table.facts["shots"]
        for first, *_ in table.rows:
            name = str(first.value)
            if shots in rows.setdefault(name, {}):
                where = "all images" if shots is None else f"{shots} shots"
                raise UserError(
                    f"{title}: {name!r} was run twice at {where}, on other data or towers.",
                    hint="Name only the runs that belong together, or tell them apart with --row.",
                )
            rows[name][shots] = table.row(name)
    found = [_over_shots(name, by_shots, column.key) for name, by_shots in rows.items()]
    notes = [f"{title}, {_tick(table.facts['shots'])}: {note}" for table in made for note in table.notes]
    return Panel(title, column, tuple(row for row in found if row.points), tuple(notes))


def _over_shots(name: str, by_shots: Mapping[Shots, Mapping[str, Cell]], key: str) -> RowOverShots:
    points: list[tuple[Shots, Estimate]] = []
    for shots, row in sorted(by_shots.items(), key=lambda item: (item[0] is None, item[0] or 0)):
        cell = row[key]
        if isinstance(cell.value, Estimate):
            points.append((shots, cell.value))
        elif cell.number is not None:  # a paper prints no interval
            points.append((shots, Estimate(cell.number, math.nan, cell.of or 1)))
    means = [estimate.mean for _, estimate in points]
    # One number of shots does not say what others would change: closed forms read them without a step of training.
    still = len(means) > 1 and max(means) - min(means) < _SAME_LINE
    still = still and not any(estimate.half_width > _SAME_LINE for _, estimate in points)
    untrained = all(row["selected_on"].value == "nothing" for row in by_shots.values())
    return RowOverShots(name, tuple(points), still and untrained)


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
        axes = figure.add_subplot(down, across, number + 1)
        height, places = 100 if panel.column.unit == "%" else 1, _places(panel)
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
            look = {
                "color": colour,
                "marker": marker,
                "markerfacecolor": colour if filled else "white",
                "markersize": 5,
            }
            handles[row.name] = axes.errorbar(
                [places[shots] + aside for shots, _ in row.points],
                [e.mean * height for _, e in row.points],
                yerr=widths if any(widths) else None,
                **{**look, "markersize": 5, "linewidth": 1.4, "elinewidth": 1, "capsize": 2},
            )
        _label(axes, panel, places, is_first=number % across == 0)
    # A legend fills column by column; this one reads line by line.
    order = [name for start in range(columns) for name in order[start::columns]]
    title: dict[str, Any] = {"title": "mean and 95 % t-interval over seeds", "title_fontsize": SMALL} if rising else {}
    legend_below(figure, columns, handles=[handles[name] for name in order], labels=order, **title)
    return figure


def _places(panel: Panel) -> dict[Shots, float]:
    """Where shots stand on the axis, in powers of two; all images stand one step beyond the most shots."""
    shots = {s for row in panel.rows for s, _ in row.points}
    places: dict[Shots, float] = {s: math.log2(s) for s in sorted(s for s in shots if s is not None)}
    return {**places, None: max(places.values(), default=-1.0) + 1} if None in shots else places


def _label(axes: Axes, panel: Panel, places: Mapping[Shots, float], is_first: bool) -> None:
    column = panel.column
    furnish(axes, x="shots a leaf", y=f"{column.header} [{column.unit}]" if is_first else "")
    axes.set_title(panel.title, fontsize=SMALL + 0.5)
    axes.set_xticks(list(places.values()), list(map(_tick, places)))
    axes.set_xlim(min(places.values()) - 0.35, max(places.values()) + 0.35)
    axes.locator_params(axis="y", nbins=6, steps=[1, 2, 5, 10])
    if column.unit == "%":  # an interval of two seeds may reach beyond what a share can be
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0), min(high, 100.5))
