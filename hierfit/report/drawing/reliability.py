"""Reliability diagrams: what was said to be sure against what was right."""

from __future__ import annotations

from collections.abc import Mapping

from hierfit.decoding.calibration import Reliability
from hierfit.report.drawing.style import COLOURS, COLUMN, MARKERS, MUTED, SMALL, Drawn, furnish, new_figure

_FIRM = 10  # samples from which on a bin's accuracy is worth a line


def reliability_diagram(levels: Mapping[str, Reliability], title: str) -> Drawn:
    """A point a bin and level, larger for more samples; a line through those of ten and more; the diagonal is perfect.

    Args:
        levels: Coarse to fine.
        title: Above it.
    """
    figure = new_figure(COLUMN, 4.3)
    axes = figure.add_subplot()
    axes.plot([0, 100], [0, 100], color=MUTED, dashes=(4, 3), linewidth=1, zorder=1)
    said = {}
    for i, (level, found) in enumerate(levels.items()):
        filled = found.count > 0
        x, y = (100 * found.confidence[filled]).tolist(), (100 * found.accuracy[filled]).tolist()
        count = found.count[filled].tolist()
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        most = max(count, default=1)
        areas = [9 + 70 * n / most for n in count]
        firm = [(a, b) for n, a, b in zip(count, x, y, strict=True) if n >= _FIRM]
        axes.plot([a for a, _ in firm], [b for _, b in firm], color=colour, linewidth=1.2, zorder=2)
        label = f"{level}, ECE {100 * found.ece:.1f} %"
        axes.scatter(x, y, s=areas, color=colour, marker=marker, zorder=3, gid=f"level{i}", label=label)
        said[f"level{i}"] = [
            f"{level}: {n} images, sure to {a:.0f} %, right in {b:.0f} %" for n, a, b in zip(count, x, y, strict=True)
        ]
    axes.set_xlim(0, 101)
    axes.set_ylim(0, 101)
    axes.set_aspect("equal")
    furnish(axes, x="mean confidence [%]", y="accuracy [%]", title=title, grid="both")
    legend = figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL)
    for handle in legend.legend_handles:
        handle.set_sizes([28])  # type: ignore[union-attr]
    return figure, said
