"""Where predicted paths leave the true ones: how high up, at which nodes, which siblings are taken for each other."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor

from hierfit.errors import UserError
from hierfit.report import style
from hierfit.report.blocks import (
    Block,
    Drawing,
    Gallery,
    Picture,
    Sheet,
    Strip,
    Thumbnail,
    no_pictures,
    percent,
    shown_of,
)
from hierfit.report.decisions import Breaks, SiblingPair, sibling_pairs
from hierfit.report.evidence import Evidence, FinishedRun
from hierfit.results.table import Column, Table

_RUNS, _NODES = 8, 20  # bars side by side
_NODES_LISTED = 12
_PAIRS_LISTED, _PAIRS_PICTURED = 15, 6
_MISTAKES = 3  # pictures of each direction
# Dark to light, evenly in lightness: the order can be read in grey.
_TONES = ("#440154", "#3B528B", "#21918C", "#5EC962", "#C8E020")


def break_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs that saved their test logits."""
    runs, breaks = evidence.read(_RUNS), evidence.focus.breaks
    tree, wrong, depths = breaks.taxonomy, int(breaks.wrong.sum()), breaks.depths.tolist()
    if not wrong:
        return f"No decoded path of {len(breaks.wrong)} is wrong.", ()
    # What a mistake is, by the depth of its LCA.
    parts = [f"wrong {tree.levels[0]}", *(f"right {a}, wrong {b}" for a, b in pairwise(tree.levels))]
    lead = (
        f"{wrong} of {len(breaks.wrong)} decoded paths are wrong. {percent(depths[0] / wrong)} of these leave the true "
        f"one at once ({parts[0]})"
    )
    lead += f", {percent(depths[-1] / wrong)} only at the last step ({parts[-1]})." if len(depths) > 1 else "."
    bars = {run.card.row: (run.breaks.depths.tolist(), len(run.breaks.wrong)) for run in runs}
    summary = "; ".join(f"{row} {100 * sum(counts) / total:.1f} %" for row, (counts, total) in bars.items())
    by_row = Picture(
        "breaks_by_row",
        f"Wrong paths in % of all test images (seed {runs[-1].card.seed}), by where they leave the true path.",
        f"Stacked bars, a bar a row, segments by depth of the mistake. Wrong in all: {summary}.",
        partial(stacked_bars, bars, parts, "wrong paths [% of test images]"),
    )
    # The finest level above the leaves that has few enough nodes for a bar each.
    fitting = [depth for depth in range(tree.num_levels - 1) if tree.level_sizes[depth] <= _NODES]
    return lead, [by_row, _break_nodes(breaks), *(_by_node(breaks, parts, depth) for depth in fitting[-1:])]


def _by_node(breaks: Breaks, parts: Sequence[str], depth: int) -> Picture:
    tree, level, nodes = breaks.taxonomy, breaks.taxonomy.levels[depth], breaks.taxonomy.level_slices[depth]
    counts, samples = breaks.by_depth.tolist(), breaks.samples.tolist()
    chosen = [v for v in range(nodes.start, nodes.stop) if sum(counts[v])]
    chosen.sort(key=lambda v: -sum(counts[v]) / samples[v])
    without = tree.level_sizes[depth] - len(chosen)
    rest = f" {without} without a mistake are left out." if without else ""
    bars = {tree.names[v]: (counts[v], samples[v]) for v in chosen}
    return Picture(
        "breaks_by_node",
        f"The same for the images of each {level}, most mistakes first.{rest}",
        f"Stacked bars, a bar a {level}; the tree above has the figures.",
        partial(stacked_bars, bars, parts, f"wrong paths [% of the {level}'s images]", style.FULL),
        wide=True,
    )


def stacked_bars(
    bars: dict[str, tuple[list[int], int]], parts: Sequence[str], x: str, width: float = style.COLUMN
) -> Drawing:
    """One bar a name, from top to bottom, one segment a part, the first part nearest to the axis.

    A bar has a count a part, and the number of which it shows shares in %.
    """
    wide = width > style.COLUMN
    figure, axes = style.new_axes(width, 0.75 + 0.25 * len(bars) + 0.19 * (1 if wide else len(parts)))
    last = len(_TONES) - 1
    tones = [_TONES[round(i * last / (len(parts) - 1)) if len(parts) > 1 else 1] for i in range(len(parts))]
    left, texts = [0.0] * len(bars), dict[str, list[str]]()
    for i, part in enumerate(parts):
        drawn, texts[f"part{i}"] = [], []
        for place, (name, (counts, total)) in enumerate(bars.items()):
            if counts[i]:
                share = 100 * counts[i] / total
                drawn.append((left[place], place - 0.36, share, 0.72))
                texts[f"part{i}"].append(f"{name}: {counts[i]} of {total}, {part}")
                left[place] += share
        style.boxes(axes, drawn, tones[i], f"part{i}", edgecolor=style.PAPER, linewidth=0.6)
    longest = max([*left, 1e-9])
    for place, end in enumerate(left):
        axes.text(end + longest * 0.012, place, f"{end:.1f}", va="center", fontsize=style.SMALL, color=style.INK)
    axes.set_xlim(0, longest * 1.12)
    axes.set_ylim(len(bars) - 0.4, -0.6)
    axes.set_yticks(range(len(bars)), [style.shortened(name, 40 if wide else 24) for name in bars])
    style.furnish(axes, x=x, grid="x")
    axes.tick_params(axis="y", length=0)
    style.colour_legend(figure, zip(tones, parts, strict=True), 3 if wide else 1, "left")
    return figure, texts


def _break_nodes(breaks: Breaks) -> Sheet:
    """Nodes at which most paths part."""
    tree, reached, parted = breaks.taxonomy, breaks.reached.tolist(), breaks.parted.tolist()
    order = sorted((v for v in range(len(parted)) if parted[v]), key=lambda v: (-parted[v], -parted[v] / reached[v], v))
    names, levels = [*tree.names, "the root"], [*(tree.levels[d] for d in tree.level.tolist()), ""]
    figures = Column("parted", "count"), Column("came", "count"), Column("%", "%", 1), Column("% of all", "%", 1)
    table = Table.of(
        f"The nodes at which paths part, most mistakes first{shown_of(len(order), _NODES_LISTED)}",
        ("at", "level", *figures),
        [
            (names[v], levels[v], parted[v], reached[v], parted[v] / reached[v], parted[v] / sum(parted))
            for v in order[:_NODES_LISTED]
        ],
        "Came: images whose predicted path was right as far as this node. In %: of these, those that took a wrong "
        "child; and of all mistakes.",
    )
    return Sheet("break_nodes", table, narrow=True, brief=6)


def sibling_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs with mistakes."""
    run, tree = evidence.focus, evidence.focus.breaks.taxonomy
    pairs = sibling_pairs(run.breaks)
    if not pairs:
        raise UserError("no path takes a node for its sibling.")
    table = Table.of(
        f"Siblings taken for each other{shown_of(len(pairs), _PAIRS_LISTED)}, most mistakes first",
        ("A", "B", "level", Column("A as B", "count"), Column("B as A", "count"), Column("%", "%", 1)),
        [
            (tree.names[p.a], tree.names[p.b], tree.levels[tree.level[p.a]], p.a_as_b, p.b_as_a, p.confused / p.arrived)
            for p in pairs[:_PAIRS_LISTED]
        ],
        "Images of A taken for B and of B for A, and both in % of the images of either whose predicted path came as "
        "far as their parent.",
    )
    missing = run.pictures.missing
    shown = no_pictures(missing) if missing else _gallery(run, pairs[:_PAIRS_PICTURED])
    wrong, listed = int(run.breaks.wrong.sum()), sum(pair.confused for pair in pairs[:5])
    most = f"The five worst of {len(pairs)} pairs hold" if len(pairs) > 5 else "These hold"
    lead = f"Every mistake takes one node for its sibling. {most} {percent(listed / wrong)} of all {wrong} mistakes."
    return lead, (Sheet("sibling_pairs", table, brief=8), shown)


def _gallery(run: FinishedRun, pairs: Sequence[SiblingPair]) -> Gallery:
    breaks, names, strips = run.breaks, run.breaks.taxonomy.names, []

    def some(which: Tensor, most: int, alt: str, caption: str) -> list[Thumbnail]:
        rows = which.nonzero()[:most, 0].tolist()
        return run.pictures.thumbnails((run.reading.indices[row] for row in rows), alt, caption)

    def recognised(node: int) -> list[Thumbnail]:
        right = (breaks.true_path == node).any(dim=1) & ~breaks.wrong
        return some(right, 1, f"{names[node]}, recognised", f"{names[node]} ✓")

    def taken(node: int, answer: int) -> list[Thumbnail]:
        wrong = (breaks.true_child == node) & (breaks.predicted_child == answer)
        return some(wrong, _MISTAKES, f"{names[node]} taken for {names[answer]}", f"✗ {names[node]}")

    for a, b, a_as_b, b_as_a, _ in pairs:
        pictures = [*recognised(a), *taken(a, b), *taken(b, a), *recognised(b)]
        strips.append(Strip(f"{names[a]} and {names[b]}", f"{a_as_b} and {b_as_a} images", pictures))
    caption = "Test images of the worst pairs: first and last one that was recognised, between them some that were not."
    return Gallery("confused_pairs", caption, strips)
