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
from hierfit.report.style import COLOURS, MARKERS
from hierfit.results.card import ResultCard
from hierfit.results.runs import read_cards
from hierfit.results.statistics import Estimate
from hierfit.results.summary import tables
from hierfit.results.table import Cell, Column, Table

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.container import ErrorbarContainer
    from matplotlib.figure import Figure

Places = dict[int | None, float]

_SUFFIXES = (".svg", ".png", ".pdf")

_FLAT_COLOUR, _FLAT_DASHES = "#555555", ((4, 2), (1, 1.5), (6, 2, 1, 2))
_ACROSS = 3  # panels side by side
_SMALL = 8  # points
_READING = "mean and 95 % t-interval over seeds"
_SAME = 5e-4  # fractions closer than this are drawn on one line


@dataclass(frozen=True)
class Curve:
    """One row in one panel: what was measured at how many shots (None for all training images), shots ascending.

    It is flat where nothing is trained, and neither shots nor seeds change anything.
    """

    row: str
    points: tuple[tuple[int | None, Estimate], ...]
    is_flat: bool


@dataclass(frozen=True)
class Panel:
    """Curves that may be compared: same data, protocol and backbone."""

    title: str
    column: Column
    curves: tuple[Curve, ...]
    notes: tuple[str, ...] = ()


def plot(
    runs: Annotated[list[Path], Say("run folders (controls inside are found)", "RUN")],
    *,
    out: Annotated[Path, Say(", ".join(_SUFFIXES), "FILE")],
    column: Annotated[str, Say("such as fpa@best_path (leaf_accuracy)")] = "leaf_accuracy",
) -> None:
    """Draw a metric of finished runs over shots, with 95 % t-intervals: a panel a data card, a line a row."""
    if out.suffix not in _SUFFIXES:
        raise UserError(f"{out}: a plot is written as {', '.join(_SUFFIXES)}.")
    drawn = panels(read_cards(runs), column)
    figure = draw(drawn)
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
    found = [_panel(" · ".join(key[i] for i in differing), tables(apart[key], choice=choice)) for key in keys]
    if not any(panel.curves for panel in found):
        raise UserError(f"No run has a figure for {choice!r}.")
    return tuple(panel for panel in found if panel.curves)


def _panel(title: str, made: Sequence[Table]) -> Panel:
    column, *others = (column for column in made[0].columns if column.is_figure)
    if others:
        names = ", ".join(shown.key for shown in (column, *others))
        raise UserError("A plot shows one column.", hint=f"Choose one of {names}.")
    rows: dict[str, dict[int | None, Mapping[str, Cell]]] = {}
    notes = []
    for table in made:
        shots = table.facts["shots"]
        notes += [f"{title}, {_tick(shots)}: {note}" for note in table.notes]
        for first, *_ in table.rows:
            name = str(first.value)
            if shots in rows.setdefault(name, {}):
                where = "all images" if shots is None else f"{shots} shots"
                raise UserError(
                    f"{title}: {name!r} was run twice at {where}, on other data or towers.",
                    hint="Name only the runs that belong together, or tell them apart with --row.",
                )
            rows[name][shots] = table.row(name)
    curves = [_curve(name, by_shots, column.key) for name, by_shots in rows.items()]
    return Panel(title, column, tuple(curve for curve in curves if curve.points), tuple(notes))


def _curve(name: str, by_shots: Mapping[int | None, Mapping[str, Cell]], key: str) -> Curve:
    points = [(shots, _estimate(row[key])) for shots, row in by_shots.items()]
    there = sorted(((s, e) for s, e in points if e is not None), key=lambda point: (point[0] is None, point[0] or 0))
    means = [estimate.mean for _, estimate in there]
    still = bool(means) and max(means) - min(means) < _SAME and not any(e.half_width > _SAME for _, e in there)
    untrained = all(row["selected_on"].value == "nothing" for row in by_shots.values())
    return Curve(name, tuple(there), still and untrained)


def _estimate(cell: Cell) -> Estimate | None:
    """With an interval, or without one where a paper printed none."""
    if isinstance(cell.value, Estimate):
        return cell.value
    return None if cell.number is None else Estimate(cell.number, math.nan, cell.of or 1)


def _tick(shots: int | None) -> str:
    return "all" if shots is None else str(shots)


def draw(shown: Sequence[Panel]) -> Figure:
    """A figure of the panels, with one legend below them."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise UserError("Plots need matplotlib.", hint='pip install -c constraints.txt -e ".[plot]"') from None
    down = math.ceil(len(shown) / _ACROSS)
    across = math.ceil(len(shown) / down)
    every = [curve for panel in shown for curve in panel.curves]
    # A row looks alike in all panels; one that is a curve anywhere is drawn as such in the legend.
    rising = list(dict.fromkeys(curve.row for curve in every if not curve.is_flat))
    flat = [row for row in dict.fromkeys(curve.row for curve in every) if row not in rising]
    order = [*rising, *flat]
    columns = min(len(order), max(2, 2 * across))
    lines = math.ceil(len(order) / columns)
    size = max(4.2, 3.3 * across), 2.8 * down + 0.3 + 0.18 * lines  # inches
    figure = Figure(figsize=size, layout="constrained")
    # In grey, markers tell curves apart, filled and open in turn.
    looks = dict(zip(rising, zip(cycle(COLOURS), cycle(MARKERS), cycle((True, False)), strict=False), strict=False))
    dashes = dict(zip(flat, cycle(_FLAT_DASHES), strict=False))
    handles: dict[str, Any] = {}
    for number, panel in enumerate(shown):
        axes = figure.add_subplot(down, across, number + 1)
        places = _places(panel)
        beside = [curve.row for curve in panel.curves if curve.row in looks]
        for curve in panel.curves:
            if curve.row in dashes:
                height = 100 if panel.column.unit == "%" else 1
                handles[curve.row] = axes.axhline(
                    curve.points[0][1].mean * height, color=_FLAT_COLOUR, dashes=dashes[curve.row], lw=1.3, zorder=1
                )
            else:
                aside = beside.index(curve.row) - (len(beside) - 1) / 2
                handles[curve.row] = _errorbar(axes, curve, panel.column, places, aside, looks[curve.row])
        _furnish(axes, panel, places, first=number % across == 0)
    # A legend fills column by column; this one reads line by line.
    order = [row for start in range(columns) for row in order[start::columns]]
    figure.legend(
        [handles[row] for row in order],
        order,
        loc="outside lower center",
        ncols=columns,
        frameon=False,
        fontsize=_SMALL,
        title=_READING if rising else None,
        title_fontsize=_SMALL,
    )
    return figure


def _places(panel: Panel) -> Places:
    """Where shots stand on the axis, in powers of two; all images stand one step beyond the most shots."""
    shots = {s for curve in panel.curves for s, _ in curve.points}
    places: Places = {s: math.log2(s) for s in sorted(s for s in shots if s is not None)}
    return {**places, None: max(places.values(), default=-1.0) + 1} if None in shots else places


def _errorbar(
    axes: Axes, curve: Curve, column: Column, places: Places, aside: float, look: tuple[str, str, bool]
) -> ErrorbarContainer:
    colour, marker, filled = look
    height = 100 if column.unit == "%" else 1
    # Bars of different rows stand beside, not upon, each other.
    x = [places[shots] + 0.05 * aside for shots, _ in curve.points]
    widths = [0.0 if math.isnan(e.half_width) else e.half_width * height for _, e in curve.points]
    return axes.errorbar(
        x,
        [e.mean * height for _, e in curve.points],
        yerr=widths if any(widths) else None,
        color=colour,
        marker=marker,
        markersize=5,
        markerfacecolor=colour if filled else "white",
        linewidth=1.4,
        elinewidth=1,
        capsize=2,
    )


def _furnish(axes: Axes, panel: Panel, places: Places, first: bool) -> None:
    axes.set_title(panel.title, fontsize=9)
    axes.set_xticks(list(places.values()), [_tick(shots) for shots in places], fontsize=_SMALL)
    axes.set_xlim(min(places.values()) - 0.35, max(places.values()) + 0.35)
    axes.set_xlabel("shots a leaf", fontsize=_SMALL)
    if first:
        axes.set_ylabel(f"{panel.column.header} [{panel.column.unit}]", fontsize=_SMALL)
    axes.tick_params(labelsize=_SMALL)
    axes.locator_params(axis="y", nbins=6, steps=[1, 2, 5, 10])
    axes.grid(axis="y", color="#DDDDDD", linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    if panel.column.unit == "%":  # an interval of two seeds may reach beyond what a share can be
        low, high = axes.get_ylim()
        axes.set_ylim(max(low, 0), min(high, 100.5))
