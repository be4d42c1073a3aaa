"""Stacked bars: shares of mistakes by where they were made."""

from __future__ import annotations

from collections.abc import Sequence

from hierfit.report.drawing.style import COLUMN, INK, MUTED, SMALL, Drawn, furnish, new_figure, shortened

# Dark to light, evenly in lightness: the order can be read in grey.
_TONES = ("#440154", "#3B528B", "#21918C", "#5EC962", "#C8E020", "#FDE725")


def stacked_bars(
    names: Sequence[str],
    shares: Sequence[Sequence[float]],
    parts: Sequence[str],
    tips: Sequence[Sequence[str]],
    x: str,
    width: float = COLUMN,
) -> Drawn:
    """One bar a name, one segment a part, the first part nearest to the axis.

    Args:
        names: From top to bottom.
        shares: % by name and part.
        parts: What the segments are.
        tips: What each segment says when it is pointed at, by name and part.
        x: Label of the axis.
        width: In inches.
    """
    figure = new_figure(width, 0.75 + 0.25 * len(names) + 0.19 * (1 if width > COLUMN else len(parts)))
    axes = figure.add_subplot()
    places = list(range(len(names)))
    left = [0.0] * len(names)
    said: dict[str, list[str]] = {}
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Patch, Rectangle

    handles = []
    for i, part in enumerate(parts):
        tone = _TONES[round(i * (len(_TONES) - 2) / max(1, len(parts) - 1))] if len(parts) > 1 else _TONES[1]
        lengths = [row[i] for row in shares]
        bars = [Rectangle((left[p], p - 0.36), lengths[p], 0.72) for p in places if lengths[p] > 0]
        axes.add_collection(PatchCollection(bars, facecolor=tone, edgecolor="#FFFFFF", linewidth=0.6, gid=f"part{i}"))
        said[f"part{i}"] = [tips[p][i] for p in places if lengths[p] > 0]
        handles.append(Patch(facecolor=tone, label=part))
        left = [a + b for a, b in zip(left, lengths, strict=True)]
    longest = max([*left, 1e-9])
    for place in places:
        axes.text(left[place] + longest * 0.012, place, f"{left[place]:.1f}", va="center", fontsize=SMALL, color=INK)
    axes.set_xlim(0, longest * 1.12)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(places, [shortened(name, 24 if width <= COLUMN else 40) for name in names], fontsize=SMALL)
    furnish(axes, x=x, grid="x")
    axes.tick_params(axis="y", length=0)
    axes.spines["left"].set_color(MUTED)
    figure.legend(
        handles=handles, loc="outside lower left", frameon=False, fontsize=SMALL, ncols=3 if width > COLUMN else 1
    )
    return figure, said
