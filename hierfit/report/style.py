"""What all figures of a report share: colours, sizes, axes, marks, legends."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Okabe and Ito's colours, which the colour-blind tell apart, without yellow. In grey, markers do it.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "<", ">", "h")
RIGHT, WRONG = "#0072B2", "#D55E00"

# A page in dark mode puts its own in the place of these four and of black.
INK, MUTED, GRID, PAPER = "#000000", "#555555", "#DDDDDD", "#FFFFFF"
DASHES = (4, 3)

SMALL = 8.5  # points
COLUMN = 4.4  # inches: a column of a paper, and a phone held upright
FULL = 7.2


def new_axes(width: float = COLUMN, height: float = 3.0) -> tuple[Figure, Axes]:
    """An empty figure, in inches, and its axes."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def look_of(number: int) -> dict[str, Any]:
    """Colour and marker of one of several lines."""
    return {"color": PALETTE[number % len(PALETTE)], "marker": MARKERS[number % len(MARKERS)]}


def furnish(axes: Axes, x: str = "", y: str = "", title: str = "", grid: Any = "y") -> None:
    """Labels, a quiet grid, and no frame above and to the right."""
    axes.set_xlabel(x, fontsize=SMALL)
    axes.set_ylabel(y, fontsize=SMALL)
    axes.set_title(title, fontsize=SMALL + 0.5, loc="left")
    axes.tick_params(labelsize=SMALL, color=MUTED)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.6)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color(MUTED)


def boxes(axes: Axes, places: Iterable[Sequence[float]], faces: Any, group: str, **look: Any) -> None:
    """Rectangles (left, top, width, height): one group of marks, each of which may say what it is."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    drawn = [Rectangle((left, top), width, height) for left, top, width, height in places]
    axes.add_collection(PatchCollection(drawn, facecolor=faces, gid=group, **look))


def legend_below(figure: Figure, columns: int = 2, place: str = "center", **options: Any) -> Any:
    """A legend under the axes, of what they hold or of the handles given."""
    plain: dict[str, Any] = {"frameon": False, "fontsize": SMALL, "ncols": columns, **options}
    return figure.legend(loc=f"outside lower {place}", **plain)  # type: ignore[call-overload]


def colour_legend(figure: Figure, keys: Iterable[tuple[Any, str]], columns: int, place: str, **options: Any) -> None:
    """A legend under the axes that says what colours mean."""
    from matplotlib.patches import Patch

    handles = [Patch(facecolor=colour, label=text) for colour, text in keys]
    legend_below(figure, columns, place, handles=handles, **options)


def shortened(text: str, length: int = 34) -> str:
    """A name that fits beside an axis."""
    return text if len(text) <= length else f"{text[: length - 1].rstrip()}…"
