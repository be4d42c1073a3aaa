"""Does the tree fit the features? What `hierfit taxonomy fit` found of this run's tree, drawn group by group."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from math import isnan

from hierfit.closed.kinship import CHANCE, KINSHIP_FILE, Kinship
from hierfit.errors import UserError
from hierfit.report import style
from hierfit.report.blocks import Block, Drawing, Picture, Sheet, shown_of
from hierfit.report.evidence import Evidence
from hierfit.report.sections.confusion import tree_order
from hierfit.results.table import Column, Table
from hierfit.taxonomy import Taxonomy

_GROUPS_LISTED = 100
_LEAF, _LOWEST, _HIGHEST = 0.085, 1.6, 9.0  # inches: a class, and the least and most of the drawing
_NAME_HEIGHT = 0.125  # inches
# Of groups: what they are called, and their colour and its strength in the legend.
_GROUP_KINDS = {
    "holds": (f"hold together, p ≤ {CHANCE}", style.RIGHT, 0.7),
    "strangers": ("no more alike than chance", style.WRONG, 0.75),
    "untested": ("one class, or all: nothing to test", style.GRID, 1.0),
}


def kinship_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs whose tree was tested against features."""
    folder, tree = evidence.focus.folder, evidence.focus.reading.taxonomy
    try:
        found = Kinship.load(json.loads((folder / KINSHIP_FILE).read_text(encoding="utf-8")), tree)
    except FileNotFoundError:
        raise UserError(f"no test of the tree; `hierfit taxonomy fit {folder} FEATURES` makes one.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"its {KINSHIP_FILE} cannot be read, or is of another tree.") from error
    values, p, leaves = found.node_values.tolist(), found.node_p.tolist(), tree.num_leaves_below.tolist()
    groups = sorted(found.node_p.isfinite().nonzero()[:, 0].tolist(), key=lambda v: (-p[v], v))
    alike = sum(p[v] <= CHANCE for v in groups)
    lead = (
        f"{'The tree fits these features' if found.p <= CHANCE else 'No evidence that the tree fits these features'}: "
        f"kinship {found.value:.2f} ({found.origin}), p = {found.p:.2g} against {found.permutations} random trees. "
        f"{alike} of {len(groups)} groups hold together (p ≤ {CHANCE}; by chance about {CHANCE * len(groups):.0f} "
        "would). It says that a tree fits, not how much it helps."
    )
    if not groups:
        return lead, ()
    table = Table.of(
        f"Groups of the tree, the least alike first{shown_of(len(groups), _GROUPS_LISTED)}",
        ("group", "level", Column("classes", "count"), Column("kinship", "", 3), Column("p", "", 3)),
        [(tree.full_name(v), tree.levels[tree.level[v]], leaves[v], values[v], p[v]) for v in groups[:_GROUPS_LISTED]],
        "Kinship: how alike the classes of a group are, as a share of what there is to a class; 0 for strangers. p: "
        f"share of random trees in which as many classes are as alike; above {CHANCE} that is no more than chance.",
    )
    picture = Picture(
        "kinship",
        "The tree, coarse to fine from left to right; the height of a node is its number of classes, the figure beside "
        "its name its kinship. Blue groups hold together, the stronger the more; the classes of vermilion ones are no "
        f"more alike than classes taken at random (p above {CHANCE}). Grey: one class, or all, nothing to test.",
        f"The tree as nested bars. {alike} of {len(groups)} groups hold together; the figures are in the table below.",
        partial(_kinship_tree, values, p, tree),
        wide=True,
        finder=True,
    )
    return lead, (picture, Sheet("kinship", table, folded=True, brief=8))


def _kinship_tree(values: Sequence[float], p: Sequence[float], tree: Taxonomy) -> Drawing:
    """Inner nodes as bars beside each other by level, each as high as its classes; coloured by kinship and p."""
    above, size, level = tree_order(tree).tolist(), tree.num_leaves_below.tolist(), tree.level.tolist()
    inner = (tree.num_children > 0).nonzero()[:, 0].tolist()
    height, columns = min(max(_LEAF * tree.num_leaves, _LOWEST), _HIGHEST), max(level[v] for v in inner) + 1
    figure, axes = style.new_axes(style.FULL, height + 0.8)
    most = max((value for value in values if not isnan(value)), default=1.0)
    kinds: dict[str, list[int]] = {kind: [] for kind in _GROUP_KINDS}
    for node in inner:
        kinds["untested" if isnan(p[node]) else "holds" if p[node] <= CHANCE else "strangers"].append(node)
    texts: dict[str, list[str]] = {kind: [] for kind in _GROUP_KINDS}
    for kind, nodes in kinds.items():
        faces = []
        for node in nodes:
            shares = min(max(values[node] / max(most, 1e-9), 0), 1) if kind == "holds" else 0
            faces.append((_GROUP_KINDS[kind][1], 0.25 + 0.6 * shares if kind == "holds" else 0.75))
            figures = f": {size[node]} classes, kinship {values[node]:.3f}, p {p[node]:.3f}"
            texts[kind].append(tree.full_name(node) + (figures if kind != "untested" else ""))
            if size[node] * height / tree.num_leaves >= _NAME_HEIGHT:
                shown = f"  {values[node]:.2f}".replace("-", "−") if kind != "untested" else ""
                shown += f", p {p[node]:.3f}" if kind == "strangers" else ""
                name = style.shortened(tree.names[node], max(4, round(84 / columns) - len(shown))) + shown
                place, small = (level[node] + 0.02, above[node] + size[node] / 2), style.SMALL - 1
                axes.text(*place, name, va="center", color=style.INK, clip_on=True, fontsize=small)
        bars = [(level[v], above[v], 1, size[v]) for v in nodes]
        style.boxes(axes, bars, faces, kind, edgecolor=style.PAPER, linewidth=0.6)
    axes.set_xlim(0, columns)
    axes.set_ylim(tree.num_leaves, 0)
    axes.set_xticks([i + 0.5 for i in range(columns)], tree.levels[:columns])
    axes.set_yticks([])
    style.furnish(axes, grid=None)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    keys = [((colour, strength), words) for words, colour, strength in _GROUP_KINDS.values()]
    style.colour_legend(figure, keys, 3, "left")
    return figure, texts
