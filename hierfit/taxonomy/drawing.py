"""Trees in the terminal, and as SVG pictures: a dendrogram from left to right, one line for each leaf."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from html import escape
from itertools import accumulate
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from hierfit.errors import UserError
from hierfit.taxonomy.build import Plan
from hierfit.taxonomy.checks import counted
from hierfit.taxonomy.index import tree_index
from hierfit.taxonomy.lookup import Lookup
from hierfit.taxonomy.writers import depth_first, write_text

_MOST_LINES = 200


class View:
    """A tree down to a depth, or as many levels as have ``most`` nodes together; node ids are those of the tree."""

    def __init__(self, plan: Plan, depth: int | None, most: int) -> None:
        bounds, arrays = tree_index(plan.parent)
        self.plan, self.sizes = plan, np.diff(bounds).tolist()
        wanted = max(1, sum(stop <= most for stop in bounds[1:])) if depth is None else depth
        self.depth = max(1, min(wanted, len(self.sizes)))
        self.order = [(node, level) for node, level in depth_first(plan) if level < self.depth]
        self._first, self.num_children, self.num_leaves_below = (
            arrays[name].tolist() for name in ("first_child", "num_children", "num_leaves_below")
        )
        self._end = bounds[self.depth]

    def children(self, node: int) -> range:
        """Ids of the children that are drawn."""
        first = self._first[node]
        return range(first, first + self.num_children[node] if first < self._end else first)


def print_tree(plan: Plan, depth: int | None, console: Console) -> None:
    """Prints a tree with the number of leaves below each inner node, down to a depth, or as far as fits 200 lines."""
    view = View(plan, depth, _MOST_LINES)
    console.print(Text(" · ".join(f"{n} {name}" for n, name in zip(view.sizes, plan.levels, strict=True)), "bold"))
    grown = {-1: Tree("", hide_root=True, guide_style="dim")}
    for node, _ in view.order:
        line = Text(plan.names[node])
        if view.num_children[node]:
            line.append(f"  {counted(view.num_leaves_below[node], 'leaf', 'leaves')}", "dim")
        grown[node] = grown[int(plan.parent[node])].add(line)
    console.print(grown[-1])
    if hidden := len(view.sizes) - view.depth:
        rest = counted(hidden, "more level")
        console.print(Text(f"{rest} below: --depth {view.depth + 1} draws more, --below NODE one branch", "dim"))


def branch(plan: Plan, label: str) -> Plan:
    """A node, given by name or by path joined by "/", and everything below it; raises `UserError`."""
    _, arrays = tree_index(plan.parent)
    parents = plan.parent.tolist()
    try:
        node = Lookup(plan.names, parents, (arrays["num_children"] == 0).tolist()).nodes([label])[0]
    except UserError as error:
        raise UserError(f"--below: {error.summary}", error.problems, error.hint) from None
    place = {node: 0}
    for child in range(node + 1, len(parents)):
        if parents[child] in place:
            place[child] = len(place)
    links = np.array([-1, *(place[parents[v]] for v in [*place][1:])], dtype=np.int64)
    level = arrays["level"][[*place]]
    levels = plan.levels[int(level.min()) : int(level.max()) + 1]
    return Plan(tuple(plan.names[v] for v in place), levels, links)


# Pictures ------------------------------------------------------------------------------------------------------------

# Okabe and Ito's colours, which the colour-blind tell apart, without yellow; dark enough for text on white.
_COLOURS = ("#0072B2", "#B34D00", "#007A59", "#A3477D", "#8A6100", "#2B7AA8")
_ROW, _SIZE, _GAP, _MARGIN, _TOP = 16, 11, 26, 16, 40  # pixels
_MOST_LEAVES = 3000  # leaves, unless a depth is asked for: a browser draws no more in good time
_LONGEST = 60  # letters of a name


def write_svg(plan: Plan, path: Path, depth: int | None) -> None:
    """Write the picture down to a depth, or of as many levels as have 3000 nodes together; raises `UserError`."""
    write_text(path, "\n".join(_svg_lines(View(plan, depth, _MOST_LEAVES))))


def _svg_lines(view: View) -> Iterator[str]:
    """The lines of the picture."""
    names = view.plan.names
    level = dict(view.order)
    label = {node: names[node] if len(names[node]) <= _LONGEST else f"{names[node][: _LONGEST - 1]}…" for node in level}
    count = {node: f" {view.num_leaves_below[node]}" if view.num_children[node] else "" for node in level}
    ends = {node: _width(label[node]) + _width(count[node]) for node in level}
    widths = [max(ends[node] for node in level if level[node] == depth) + 8 for depth in range(view.depth)]
    lefts = list(accumulate([float(_MARGIN), *(width + _GAP for width in widths)]))
    row = _rows(view)
    height = _TOP + _ROW * (max(row.values()) + 1) + _MARGIN
    width = lefts[-1] - _GAP + _MARGIN
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0f}" height="{height:.0f}" '
        f'viewBox="0 0 {width:.0f} {height:.0f}" font-family="Helvetica, Arial, sans-serif" font-size="{_SIZE}">'
    )
    yield f'<rect width="{width:.0f}" height="{height:.0f}" fill="#ffffff"/>'
    for left, name, size in zip(lefts, view.plan.levels, view.sizes[: view.depth], strict=False):
        heading = f"{escape(name)} ({size})"
        yield f'<text x="{left:.1f}" y="{_MARGIN + 6}" fill="#555555" font-weight="bold">{heading}</text>'
    coloured = next((depth for depth, size in enumerate(view.sizes[: view.depth]) if size > 3), 0)
    hue: dict[int, int] = {}
    for node, depth in view.order:
        # Branches of the first level wide enough have a colour each; what is above them is grey.
        hue[node] = node if depth == coloured else hue.get(int(view.plan.parent[node]), -1)
        colour = _COLOURS[hue[node] % len(_COLOURS)] if hue[node] >= 0 else "#444444"
        left, y, children = lefts[depth], _TOP + _ROW * (row[node] + 0.5), view.children(node)
        more = "" if children else " below"
        number = f'<tspan fill="#777777" font-size="9">{count[node]}{more}</tspan>' if count[node] else ""
        yield (
            f'<text x="{left:.1f}" y="{y + 4:.1f}" fill="{colour if children or depth == 0 else "#222222"}">'
            f"<title>{escape(names[node])}</title>{escape(label[node])}{number}</text>"
        )
        if children:
            spine = lefts[depth + 1] - _GAP / 2
            ys = [_TOP + _ROW * (row[child] + 0.5) for child in children]
            path = f"M{min(left + ends[node] + 3, spine):.1f},{y:.1f}H{spine:.1f}"
            path += f"M{spine:.1f},{ys[0]:.1f}V{ys[-1]:.1f}" if len(ys) > 1 else ""
            path += "".join(f"M{spine:.1f},{child:.1f}H{lefts[depth + 1] - 4:.1f}" for child in ys)
            yield f'<path d="{path}" fill="none" stroke="{colour}" stroke-opacity="0.55"/>'
    yield "</svg>"


def _rows(view: View) -> dict[int, float]:
    """The line of each node, in units of lines; a parent is in the middle of its children."""
    drawn = [node for node, _ in view.order]
    ends = [node for node in drawn if not view.children(node)]
    row = {node: float(line) for line, node in enumerate(ends)}
    for node in reversed(drawn):
        if children := view.children(node):
            row[node] = (row[children[0]] + row[children[-1]]) / 2
    return row


def _width(text: str) -> float:
    """Width in pixels, a little too wide: fonts differ."""
    wide = sum(1.05 for letter in text if unicodedata.east_asian_width(letter) in "WF")
    others = [letter for letter in text if unicodedata.east_asian_width(letter) not in "WF"]
    return _SIZE * (wide + sum(0.38 if letter in "ijlft.,:;'|!()[] " else 0.9 if letter in "mwMW@%"
                               else 0.74 if letter.isupper() else 0.6 for letter in others))  # fmt: skip
