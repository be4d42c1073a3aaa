"""Trees in the terminal, and as SVG pictures: a dendrogram from left to right, one line for each leaf."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from itertools import accumulate
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from hierfit.errors import UserError
from hierfit.taxonomy.build import Plan
from hierfit.taxonomy.index import level_bounds, tree_index
from hierfit.taxonomy.lookup import Lookup
from hierfit.taxonomy.writers import write_text

_MOST_LINES = 200


@dataclass(frozen=True)
class View:
    """What is drawn of a tree; node ids are those of the whole tree.

    Attributes:
        plan: The whole tree.
        depth: Levels that are drawn.
        first_child: [N] the children of v are the ids from first_child[v] on.
        num_children: [N] number of children.
        num_leaves_below: [N] leaves in the subtree of each node.
        level: [N] depth of each node, 0 for roots.
    """

    plan: Plan
    depth: int
    first_child: list[int]
    num_children: list[int]
    num_leaves_below: list[int]
    level: list[int]

    @classmethod
    def of(cls, plan: Plan, depth: int | None, most: int) -> View:
        """The tree down to a depth.

        Args:
            plan: The tree.
            depth: Levels to draw; None for as many as have ``most`` nodes together, one at least.
            most: Nodes.
        """
        bounds, arrays = tree_index(plan.parent)
        if depth is None:
            depth = max([1, *(d for d, stop in enumerate(level_bounds(plan.parent)) if stop <= most)])
        depth = max(1, min(depth, len(bounds) - 1))
        names = ("first_child", "num_children", "num_leaves_below", "level")
        return cls(plan, depth, *(arrays[name].tolist() for name in names))

    @property
    def roots(self) -> range:
        """Ids of the roots."""
        return range(int((self.plan.parent < 0).sum()))

    def children(self, node: int) -> range:
        """Ids of the children that are drawn."""
        first = self.first_child[node]
        return range(first, first + (self.num_children[node] if self.level[node] + 1 < self.depth else 0))

    def hidden(self, node: int) -> int:
        """Leaves below a node whose children are not drawn."""
        return self.num_leaves_below[node] if self.num_children[node] and not self.children(node) else 0


def print_tree(plan: Plan, depth: int | None, console: Console) -> None:
    """Prints a tree with the number of leaves below each inner node.

    Args:
        plan: The tree.
        depth: Levels to draw; None for as many as fit 200 lines.
        console: Where to.
    """
    view = View.of(plan, depth, _MOST_LINES)
    sizes = np.bincount(np.array(view.level)).tolist()
    console.print(Text(" · ".join(f"{n} {name}" for n, name in zip(sizes, plan.levels, strict=True)), "bold"))
    top = Tree("", hide_root=True, guide_style="dim")
    grown: dict[int, Tree] = {}
    stack = [*reversed(view.roots)]
    while stack:
        node = stack.pop()
        parent = int(plan.parent[node])
        grown[node] = (top if parent < 0 else grown[parent]).add(_line(view, node))
        stack += reversed(view.children(node))
    console.print(top)
    if view.depth < len(sizes):
        rest = f"{len(sizes) - view.depth} more levels below" if len(sizes) - view.depth > 1 else "1 more level below"
        console.print(Text(f"{rest}: --depth {view.depth + 1} draws more, --below NODE one branch", "dim"))


def _line(view: View, node: int) -> Text:
    line = Text(view.plan.names[node])
    if view.num_children[node]:
        leaves = view.num_leaves_below[node]
        line.append(f"  {leaves} {'leaf' if leaves == 1 else 'leaves'}", "dim")
    return line


def branch(plan: Plan, label: str) -> Plan:
    """A node and everything below it.

    Args:
        plan: The tree.
        label: Name of the node, or its path joined by "/".

    Raises:
        UserError: No node is called so (with the nearest names), or several are.
    """
    _, arrays = tree_index(plan.parent)
    parents = plan.parent.tolist()
    try:
        node = Lookup(plan.names, parents, (arrays["num_children"] == 0).tolist()).nodes([label])[0]
    except UserError as error:
        raise UserError(f"--below: {error.summary}", error.problems, error.hint) from None
    kept = [node]
    place = {node: 0}
    for child in range(node + 1, len(parents)):
        if parents[child] in place:
            place[child] = len(kept)
            kept.append(child)
    links = np.array([-1, *(place[parents[v]] for v in kept[1:])], dtype=np.int64)
    level = arrays["level"]
    levels = plan.levels[int(level[node]) : int(level[kept].max()) + 1]
    return Plan(tuple(plan.names[v] for v in kept), levels, links)


# Pictures ------------------------------------------------------------------------------------------------------------

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
