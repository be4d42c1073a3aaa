"""Operating curves: what answers cost that go only as deep as they may."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hierfit.report.drawing.style import COLOURS, COLUMN, MARKERS, SMALL, Drawn, furnish, new_figure

Points = Sequence[tuple[float, float]]


def operating_curves(curves: Mapping[str, Points], marked: Mapping[str, tuple[float, float]]) -> Drawn:
    """Error against information kept, a line a run, from silence at the left to whole paths at the right.

    Args:
        curves: ``(information, error)`` in % by run.
        marked: Points of the first run by what was promised there.
    """
    figure = new_figure(COLUMN, 3.2)
    axes = figure.add_subplot()
    for i, (name, points) in enumerate(curves.items()):
        axes.plot(*zip(*points, strict=True), color=COLOURS[i % len(COLOURS)], linewidth=1.4, label=name)
    for i, (promise, (x, y)) in enumerate(marked.items()):
        marker = MARKERS[i % len(MARKERS)]
        axes.plot([x], [y], marker=marker, color=COLOURS[0], markersize=6, linestyle="", label=promise)
    axes.set_xlim(0, 101)
    axes.set_ylim(bottom=0)
    furnish(axes, x="information kept [%]", y="wrong answers [% of all images]", grid="both")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL)
    return figure, {}
