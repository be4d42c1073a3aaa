"""Confusion as a map: true classes down, predicted across, squares where siblings are."""

from __future__ import annotations

from hierfit.report.analysis.confusion import Confusion
from hierfit.report.drawing.style import (
    FULL,
    GRID,
    INK,
    MUTED,
    RIGHT,
    SMALL,
    WRONG,
    Drawn,
    furnish,
    new_figure,
    shortened,
)

_NAMED = 40  # classes that have room for their names
_POINTED = 4000  # cells that say what they are when pointed at
_BLOCKS_NAMED = 30


def confusion_map(confusion: Confusion) -> Drawn:
    """Cells that are not zero: blue where right, vermilion where wrong, the stronger the larger the share of the row.

    Frames mark the classes under one node of the level above; the frames of the coarsest level are heavier.
    """
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch, Rectangle

    taxonomy, size = confusion.taxonomy, len(confusion.nodes)
    names = [taxonomy.names[node] for node in confusion.nodes.tolist()]
    figure = new_figure(FULL, FULL * 0.9)
    axes = figure.add_subplot()
    shares = (confusion.counts / confusion.row_totals.clamp_min(1)[confusion.rows]).tolist()
    totals = confusion.row_totals.tolist()
    cells = list(
        zip(confusion.rows.tolist(), confusion.columns.tolist(), confusion.counts.tolist(), shares, strict=True)
    )
    said: dict[str, list[str]] = {}
    for gid, colour, wrong in (("right", RIGHT, False), ("wrong", WRONG, True)):
        chosen = [cell for cell in cells if (cell[0] != cell[1]) == wrong]
        squares = [Rectangle((c, r), 1, 1) for r, c, _, _ in chosen]
        faces = [to_rgba(colour, _strength(share)) for *_, share in chosen]
        axes.add_collection(PatchCollection(squares, facecolor=faces, linewidth=0, gid=gid, zorder=2))
        if len(chosen) <= _POINTED:
            said[gid] = [
                f"{names[r]}{' taken for ' + names[c] if wrong else ', right'}: {n} of {totals[r]}"
                for r, c, n, _ in chosen
            ]
    for depth in range(confusion.depth):
        for start, stop, _ in confusion.blocks(depth):
            colour, width = (INK, 0.9) if depth == 0 else (MUTED, 0.5)
            frame = Rectangle((start, start), stop - start, stop - start, fill=False, edgecolor=colour, linewidth=width)
            axes.add_patch(frame)
    _label(axes, confusion, names)
    axes.set_xlim(0, size)
    axes.set_ylim(size, 0)
    axes.set_aspect("equal")
    furnish(axes, x="predicted, in the same order", y="true", grid=None)
    for spine in axes.spines.values():
        spine.set_visible(True)
        spine.set_color(GRID)
    keys = [
        Patch(facecolor=to_rgba(colour, _strength(share)), label=f"{word}, {share:.0%}")
        for colour, word in ((RIGHT, "right"), (WRONG, "wrong"))
        for share in (0.05, 0.25, 1.0)
    ]
    figure.legend(handles=keys, loc="outside lower center", ncols=6, frameon=False, fontsize=SMALL, handlelength=1.2)
    return figure, said


def _strength(share: float) -> float:
    """Opacity: small shares can still be seen."""
    return float(0.12 + 0.88 * share**0.5)


def _label(axes, confusion: Confusion, names: list[str]) -> None:  # type: ignore[no-untyped-def]
    """Names of the classes where there is room, else of the blocks of the coarsest level that fit."""
    size = len(names)
    if size <= _NAMED:
        places, labels = [i + 0.5 for i in range(size)], names
    else:
        by_depth = [confusion.blocks(depth) for depth in range(confusion.depth)]
        blocks = next((b for b in reversed(by_depth) if len(b) <= _BLOCKS_NAMED), [])
        places = [(start + stop) / 2 for start, stop, _ in blocks]
        labels = [confusion.taxonomy.names[node] for _, _, node in blocks]
    shown = [shortened(label, 26) for label in labels]
    axes.set_yticks(places, shown, fontsize=SMALL - 1)
    axes.set_xticks([])
    axes.tick_params(length=0)
