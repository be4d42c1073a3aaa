"""The tree and its images; where predicted paths leave the true ones: how high up, at which node, for which sibling."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from functools import partial
from itertools import pairwise
from typing import Any

from torch import Tensor

from hierfit.errors import UserError
from hierfit.report import style
from hierfit.report.blocks import (
    Block,
    Drawing,
    Explorer,
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

_IMAGES_LISTED = 20_000  # images of which a page says what was answered: 60 bytes each
_EXAMPLES = 3  # one picture of so many shows a class that was recognised, beside those that were not
_RUNS, _NODES = 8, 20  # bars side by side
_NODES_LISTED = 12
_PAIRS_LISTED, _PAIRS_PICTURED = 15, 6
_MISTAKES = 3  # pictures of each direction
# Dark to light, evenly in lightness: the order can be read in grey.
_TONES = ("#440154", "#3B528B", "#21918C", "#5EC962", "#C8E020")


def tree_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs that saved their test logits."""
    run, breaks = evidence.focus, evidence.focus.breaks
    tree, right, images = breaks.taxonomy, breaks.right.tolist(), breaks.samples.tolist()
    rows = (breaks.true_path[:, 0] >= 0).nonzero()[:, 0]
    count = len(rows)
    if not count:
        raise UserError("no test image is labelled.")
    if count > _IMAGES_LISTED:  # in their order, of too many the mistakes first
        rows = rows[(~breaks.wrong[rows]).long().argsort(stable=True)][:_IMAGES_LISTED].sort().values
    missing = run.pictures.missing
    chosen = [] if missing or evidence.pictures <= 0 else pictured(breaks, run.reading.sure, rows, evidence.pictures)
    jpegs = {place: run.pictures.jpeg(run.reading.indices[rows[place]]) for place in chosen}
    # Nodes, coarse to fine, with their images: how many, right so far, right to the end, and so for the control.
    data: dict[str, Any] = {"levels": tree.levels, "names": tree.names, "parent": tree.parent.tolist()}
    data |= {"images": images, "right": right, "whole": breaks.whole.tolist()}
    if evidence.alike is not None:
        data |= {"control": evidence.control, "control_right": evidence.alike.breaks.right.tolist()}
    explorer = Explorer(
        "tree",
        "A block is a node, as high as it has leaves; in % the share of its test images whose decoded path comes so "
        "far. Choose a block to go into it and to see its images below; the blocks above lead back.",
        {**data, **_images_data(run, rows), "total": count},
        {place: jpeg for place, jpeg in jpegs.items() if jpeg is not None},
        missing,
    )
    shares = [
        f"the {level} of {percent(sum(right[nodes]) / sum(images[nodes]), 1)}"
        for level, nodes in zip(tree.levels, tree.level_slices, strict=True)
        if sum(images[nodes])
    ]
    lead = f"Decoded paths name {', '.join(shares)} of the images rightly."
    worst = min((v for v in range(tree.num_nodes) if images[v]), key=lambda v: (right[v] / images[v], -images[v]))
    if right[worst] < images[worst]:
        level = tree.levels[tree.level[worst]]
        lead += f" Hardest: {tree.names[worst]} ({level}), {right[worst]} of {images[worst]}."
    return lead, (explorer,)


def _images_data(run: FinishedRun, order: Tensor) -> dict[str, Any]:
    """Of each image its file, true and answered node, the answer's probabilities in ‰, and where wrong the truth's."""
    reading, keys, wrong = run.reading, run.pictures.keys, run.breaks.wrong[order].tolist()
    answer, truth = reading.decoded[order], run.breaks.true_path[order]

    def shares(found: Tensor, path: Tensor) -> list[list[int]]:
        rows = (1000 * found[order]).round().long().tolist()
        return [row[:n] for row, n in zip(rows, (path >= 0).sum(dim=1).tolist(), strict=True)]

    return {
        "file": [keys[i] if keys else f"image {i}" for i in (reading.indices[row] for row in order.tolist())],
        "truth": truth.amax(1).tolist(),
        "answer": answer.amax(1).tolist(),
        "sure": shares(reading.sure, answer),
        "sureOfTruth": [row if bad else [] for row, bad in zip(shares(reading.truth, truth), wrong, strict=True)],
    }


def pictured(breaks: Breaks, sure: Tensor, order: Tensor, most: int) -> list[int]:
    """Places in ``order`` that get a picture.

    A third shows classes that were recognised, those of most mistakes first; the rest mistakes. Each takes the surest
    images (by the probabilities of all answers ``[n, L]``), a class at a time in turn, so that no class has many before
    another has one.
    """
    wrong, leaf = breaks.wrong[order].tolist(), breaks.true_path[order].amax(1).tolist()
    confidence = sure[order].masked_fill(sure[order] <= 0, 1).amin(1)
    ranked = confidence.argsort(descending=True, stable=True).tolist()
    mistakes = Counter(node for node, bad in zip(leaf, wrong, strict=True) if bad)

    def in_turn(places: list[int]) -> list[int]:
        seen, turn = Counter[int](), dict[int, int]()
        for place in places:
            seen[leaf[place]] += 1
            turn[place] = seen[leaf[place]]
        return sorted(places, key=lambda place: (turn[place], -mistakes[leaf[place]]))

    bad, good = (in_turn([place for place in ranked if wrong[place] == side]) for side in (True, False))
    examples = good[: max(most // _EXAMPLES, most - len(bad))]
    return sorted([*bad[: most - len(examples)], *examples])


def break_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs that saved their test logits."""
    runs, breaks = evidence.read()[-_RUNS:], evidence.focus.breaks
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
