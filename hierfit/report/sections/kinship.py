"""Does the tree fit the features? What `hierfit taxonomy fit` found of this run's tree, drawn group by group."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial

from hierfit.closed.kinship import CHANCE, KINSHIP_FILE, Kinship
from hierfit.errors import UserError
from hierfit.report.blocks import Block, Drawing, Picture, Sheet, shown_of
from hierfit.report.evidence import Evidence
from hierfit.report.sections.confusion import tree_order
from hierfit.report.style import FULL, GRID, INK, PAPER, RIGHT, SMALL, WRONG, furnish, legend_below, new_axes, shortened
from hierfit.results.table import Column, Table
from hierfit.taxonomy import Taxonomy

_LISTED = 100
_LEAF, _LOWEST, _HIGHEST = 0.085, 1.6, 9.0  # inches: a class, and the least and most of the drawing
_LINE = 0.125  # inches that a name needs
_KINSHIP, _P = Column("kinship", "", 2), Column("p", "", 3)


def kinship_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs whose tree was tested against features."""
    folder, taxonomy = evidence.focus.folder, evidence.focus.reading.taxonomy
    try:
        found = Kinship.load(json.loads((folder / KINSHIP_FILE).read_text(encoding="utf-8")), taxonomy)
    except FileNotFoundError:
        raise UserError(f"no test of the tree; `hierfit taxonomy fit {folder} FEATURES` makes one.") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"its {KINSHIP_FILE} cannot be read, or is of another tree.") from error
    values, p = found.node_values.tolist(), found.node_p.tolist()
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
    names, levels, leaves = taxonomy.full_name, taxonomy.levels, taxonomy.num_leaves_below.tolist()
    table = Table.of(
        f"Groups of the tree, the least alike first{shown_of(len(groups), _LISTED)}",
        ("group", "level", Column("classes", "count"), Column("kinship", "", 3), _P),
        [(names(v), levels[int(taxonomy.level[v])], leaves[v], values[v], p[v]) for v in groups[:_LISTED]],
        "Kinship: how alike the classes of a group are, as a share of what there is to a class; 0 for strangers. p: "
        f"share of random trees in which as many classes are as alike; above {CHANCE} that is no more than chance.",
    )
    picture = Picture(
        "kinship",
        "The tree, coarse to fine from left to right; the height of a node is its number of classes, the figure beside "
        "its name its kinship. Blue groups hold together, the stronger the more; the classes of vermilion ones are no "
        f"more alike than classes taken at random (p above {CHANCE}). Grey: one class, or all, nothing to test.",
        f"The tree as nested bars. {alike} of {len(groups)} groups hold together; the figures are in the table below.",
        partial(_kinship_tree, found, taxonomy),
        wide=True,
        finder=True,
    )
    return lead, (picture, Sheet("kinship", table, folded=True, brief=8))


def _kinship_tree(found: Kinship, taxonomy: Taxonomy) -> Drawing:
    """Inner nodes as bars beside each other by level, each as high as its classes; coloured by kinship and p."""
    from matplotlib.collections import PatchCollection
    from matplotlib.colors import to_rgba
    from matplotlib.patches import Patch, Rectangle

    above, size = tree_order(taxonomy).tolist(), taxonomy.num_leaves_below.tolist()
    level, inner = taxonomy.level.tolist(), (taxonomy.num_children > 0).nonzero()[:, 0].tolist()
    values, p = found.node_values.tolist(), found.node_p.tolist()
    height, columns = min(max(_LEAF * taxonomy.num_leaves, _LOWEST), _HIGHEST), max(level[v] for v in inner) + 1
    figure, axes = new_axes(FULL, height + 0.8)
    most = max((value for value in values if value == value), default=1.0)
    colours = {"holds": RIGHT, "strangers": WRONG, "untested": GRID}
    kinds: dict[str, list[int]] = {kind: [] for kind in colours}
    for node in inner:
        kinds["untested" if p[node] != p[node] else "holds" if p[node] <= CHANCE else "strangers"].append(node)
    texts: dict[str, list[str]] = {}
    for kind, nodes in kinds.items():
        strength = [
            0.25 + 0.6 * min(max(values[v] / max(most, 1e-9), 0), 1) if kind == "holds" else 0.75 for v in nodes
        ]
        faces = [to_rgba(colours[kind], each) for each in strength]
        bars = [Rectangle((level[v], above[v]), 1, size[v]) for v in nodes]
        axes.add_collection(PatchCollection(bars, facecolor=faces, edgecolor=PAPER, linewidth=0.6, gid=kind))
        figures = [
            "" if kind == "untested" else f": {size[v]} classes, kinship {values[v]:.3f}, p {p[v]:.3f}" for v in nodes
        ]
        texts[kind] = [taxonomy.full_name(v) + figure for v, figure in zip(nodes, figures, strict=True)]
        for node in nodes:
            if size[node] * height / taxonomy.num_leaves >= _LINE:
                shown = "" if kind == "untested" else f"  {_KINSHIP.number(values[node])}"
                shown += f", p {_P.number(p[node])}" if kind == "strangers" else ""
                name = shortened(taxonomy.names[node], max(4, round(84 / columns) - len(shown)))
                place = level[node] + 0.02, above[node] + size[node] / 2
                axes.text(*place, name + shown, va="center", fontsize=SMALL - 1, color=INK, clip_on=True)
    axes.set_xlim(0, columns)
    axes.set_ylim(taxonomy.num_leaves, 0)
    axes.set_xticks([i + 0.5 for i in range(columns)], taxonomy.levels[:columns])
    axes.set_yticks([])
    furnish(axes, grid=None)
    axes.spines[["left", "bottom"]].set_visible(False)
    axes.tick_params(length=0)
    words = (f"hold together, p ≤ {CHANCE}", "no more alike than chance", "one class, or all: nothing to test")
    keys = [
        Patch(facecolor=to_rgba(colour, strength), label=text)
        for colour, strength, text in zip(colours.values(), (0.7, 0.75, 1.0), words, strict=True)
    ]
    legend_below(figure, 3, "left", handles=keys)
    return figure, texts
