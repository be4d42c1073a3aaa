"""Curves over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hierfit.report.drawing.style import COLOURS, COLUMN, MARKERS, MUTED, SMALL, Drawn, furnish, new_figure

Series = Sequence[tuple[int, float]]


def curves(series: Mapping[str, Series], title: str, y: str, selected: int | None = None) -> Drawn:
    """A line a series over steps.

    Args:
        series: ``(step, value)`` by name.
        title: Above it.
        y: Label of the axis.
        selected: Step whose weights were kept, marked by a line.
    """
    figure = new_figure(COLUMN, 2.9)
    axes = figure.add_subplot()
    for i, (name, points) in enumerate(series.items()):
        steps, values = zip(*points, strict=True)
        axes.plot(
            steps,
            values,
            color=COLOURS[i % len(COLOURS)],
            marker=MARKERS[i % len(MARKERS)],
            markersize=4 if len(points) < 40 else 0,
            linewidth=1.3,
            label=name,
        )
    if selected is not None:
        axes.axvline(selected, color=MUTED, dashes=(4, 3), linewidth=1, label="selected on val")
    furnish(axes, x="step", y=y, title=title)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL)
    return figure, {}
