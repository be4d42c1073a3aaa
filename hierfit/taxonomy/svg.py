"""A tree as an SVG picture: a dendrogram from left to right, one line for each leaf, that stands alone."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from html import escape
from itertools import accumulate
from pathlib import Path

from hierfit.errors import UserError
from hierfit.taxonomy.build import Plan
from hierfit.taxonomy.drawing import View
from hierfit.taxonomy.writers import write_text

# Okabe and Ito's colours, which the colour-blind tell apart, without yellow; dark enough for text on white.
_COLOURS = ("#0072B2", "#B34D00", "#007A59", "#A3477D", "#8A6100", "#2B7AA8")
_ROW, _SIZE, _GAP, _MARGIN, _TOP = 16, 11, 26, 16, 40  # pixels
_MOST = 3000  # leaves, unless a depth is asked for: a browser draws no more in good time
_LONGEST = 60  # letters of a name


def write_svg(plan: Plan, path: Path, depth: int | None) -> None:
    """Write the picture.

    Args:
        plan: The tree.
        path: The file.
        depth: Levels to draw; None for as many as have 3000 nodes together.

    Raises:
        UserError: The file cannot be written.
    """
    picture = "\n".join(draw(View.of(plan, depth, _MOST)))
    try:
        write_text(path, picture)
    except OSError as error:
        raise UserError(f"{path}: cannot be written: {error.strerror}") from None


def draw(view: View) -> Iterator[str]:
    """The lines of the picture."""
    row, order = _rows(view)
    labels = {node: _label(view, node) for node in order}
    widths = [0.0] * view.depth
    for node, (name, count) in labels.items():
        level = view.level[node]
        widths[level] = max(widths[level], _width(name) + _width(count) + 8)
    lefts = list(accumulate([float(_MARGIN), *(width + _GAP for width in widths)]))
    height = _TOP + _ROW * (max(row.values()) + 1) + _MARGIN
    width = lefts[-1] - _GAP + _MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="Helvetica, Arial, sans-serif" font-size="{_SIZE}">'
    )
    yield f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>'
    counts = [view.level.count(level) for level in range(view.depth)]
    for left, name, total in zip(lefts, view.plan.levels, counts, strict=False):
        heading = f"{escape(name)} ({total})"
        yield f'<text x="{left:.1f}" y="{_MARGIN + 6}" fill="#555555" font-weight="bold">{heading}</text>'
    coloured = next((level for level, count in enumerate(counts) if count > 3), 0)
    hue: dict[int, int] = {}
    for node in order:
        # Branches of the first level wide enough have a colour each; what is above them is grey.
        hue[node] = node if view.level[node] == coloured else hue.get(int(view.plan.parent[node]), -1)
        colour = _COLOURS[hue[node] % len(_COLOURS)] if hue[node] >= 0 else "#444444"
        yield from _node(view, node, labels[node], row, lefts, colour)
    yield "</svg>"


def _rows(view: View) -> tuple[dict[int, float], list[int]]:
    """The line of each node, in units of lines, and nodes so that parents come first."""
    order: list[int] = []
    stack = [*reversed(view.roots)]
    while stack:
        node = stack.pop()
        order.append(node)
        stack += reversed(view.children(node))
    row: dict[int, float] = {}
    ends = iter(range(len(order)))
    for node in order:
        if not view.children(node):
            row[node] = next(ends)
    for node in reversed(order):
        if children := view.children(node):
            row[node] = (row[children[0]] + row[children[-1]]) / 2
    return row, order


def _label(view: View, node: int) -> tuple[str, str]:
    name = view.plan.names[node]
    name = name if len(name) <= _LONGEST else f"{name[: _LONGEST - 1]}…"
    leaves = view.num_leaves_below[node]
    return name, f" {leaves}" if view.num_children[node] else ""


def _width(text: str) -> float:
    """Width in pixels, a little too wide: fonts differ."""
    return sum(map(_em, text)) * _SIZE


def _em(letter: str) -> float:
    """Width of a letter as a share of the font's size."""
    if unicodedata.east_asian_width(letter) in "WF":
        return 1.05
    if letter in "ijlft.,:;'|!()[] ":
        return 0.38
    return 0.9 if letter in "mwMW@%" else 0.74 if letter.isupper() else 0.6


def _node(
    view: View, node: int, label: tuple[str, str], row: dict[int, float], lefts: list[float], colour: str
) -> Iterator[str]:
    """The name, and the lines to the children."""
    name, count = label
    level = view.level[node]
    left, y = lefts[level], _TOP + _ROW * (row[node] + 0.5)
    children = view.children(node)
    more = " below" if view.hidden(node) else ""
    number = f'<tspan fill="#777777" font-size="9">{count}{more}</tspan>' if count else ""
    title = escape(view.plan.names[node])
    yield (
        f'<text x="{left:.1f}" y="{y + 4:.1f}" fill="{colour if children or level == 0 else "#222222"}">'
        f"<title>{title}</title>{escape(name)}{number}</text>"
    )
    if not children:
        return
    spine = lefts[level + 1] - _GAP / 2
    start = left + _width(name) + _width(count) + 3
    path = [f"M{min(start, spine):.1f},{y:.1f}H{spine:.1f}"]
    ys = [_TOP + _ROW * (row[child] + 0.5) for child in children]
    if len(ys) > 1:
        path.append(f"M{spine:.1f},{ys[0]:.1f}V{ys[-1]:.1f}")
    path += [f"M{spine:.1f},{child:.1f}H{lefts[level + 1] - 4:.1f}" for child in ys]
    yield f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-opacity="0.55"/>'
