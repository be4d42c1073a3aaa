"""Where predicted paths leave the true ones: how high up, and at which nodes."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

from hierfit.report.analysis.breaks import Breaks
from hierfit.report.blocks import Block, Omitted, Picture, Section, Table, shown_of
from hierfit.report.drawing.bars import stacked_bars
from hierfit.report.drawing.style import FULL
from hierfit.report.evidence import Evidence, Run
from hierfit.taxonomy import Taxonomy

TITLE = "Where paths break"

_RUNS = 8  # bars side by side
_NODES = 20
_LISTED = 12
ROOT = "the root"


def section(evidence: Evidence) -> Section | Omitted:
    """Of runs that kept their test logits."""
    runs = evidence.read(_RUNS)
    breaks = evidence.focus.breaks
    taxonomy, wrong = breaks.taxonomy, int(breaks.wrong.sum())
    total = len(breaks.wrong)
    if not wrong:
        return Section("where-paths-break", TITLE, f"No decoded path of {total} is wrong.", ())
    blocks: list[Block] = [_across_runs(runs), _break_nodes(breaks)]
    level = _shown_level(taxonomy)
    if level is not None:
        blocks.append(_across_nodes(breaks, level))
    blocks.append(_shares(breaks))
    return Section("where-paths-break", TITLE, _lead(breaks), tuple(blocks))


def part_names(taxonomy: Taxonomy) -> list[str]:
    """What a mistake is, by the depth of its LCA."""
    levels = taxonomy.levels
    return [f"wrong {levels[0]}", *(f"right {a}, wrong {b}" for a, b in pairwise(levels))]


def _lead(breaks: Breaks) -> str:
    wrong, depths = int(breaks.wrong.sum()), breaks.depths.tolist()
    far, near = depths[0] / wrong, depths[-1] / wrong
    names = part_names(breaks.taxonomy)
    said = (
        f"{wrong} of {len(breaks.wrong)} decoded paths are wrong. {far:.0%} of these leave the "
        f"true one at once ({names[0]})"
    )
    if len(depths) == 1:
        return said + "."
    return f"{said}, {near:.0%} only at the last step ({names[-1]})."


def _across_runs(runs: list[Run]) -> Picture:
    names = part_names(runs[-1].reading.taxonomy)
    depths = [run.breaks.depths.tolist() for run in runs]
    totals = [len(run.breaks.wrong) for run in runs]
    shares = [[100 * n / total for n in row] for row, total in zip(depths, totals, strict=True)]
    rows = [run.card.row for run in runs]
    tips = [
        [f"{row}: {n} of {total}, {name}" for n, name in zip(counts, names, strict=True)]
        for row, counts, total in zip(rows, depths, totals, strict=True)
    ]
    spoken = "; ".join(f"{row} {sum(share):.1f} %" for row, share in zip(rows, shares, strict=True))
    return Picture(
        "breaks_by_row",
        f"Wrong paths in % of all test images (seed {runs[-1].card.seed}), by where they leave the true path.",
        f"Stacked bars, a bar a row, segments by depth of the mistake. Wrong in all: {spoken}.",
        partial(stacked_bars, rows, shares, names, tips, "wrong paths [% of test images]"),
    )


def _shown_level(taxonomy: Taxonomy) -> int | None:
    """The finest level above the leaves that has few enough nodes for a bar each."""
    fitting = [depth for depth in range(taxonomy.num_levels - 1) if taxonomy.level_sizes[depth] <= _NODES]
    return max(fitting, default=None)


def _across_nodes(breaks: Breaks, level: int) -> Picture:
    taxonomy = breaks.taxonomy
    nodes = range(taxonomy.level_slices[level].start, taxonomy.level_slices[level].stop)
    counts, samples = breaks.by_depth.tolist(), breaks.samples.tolist()
    chosen = sorted((v for v in nodes if sum(counts[v])), key=lambda v: (-sum(counts[v]) / samples[v], v))
    names = part_names(taxonomy)
    shares = [[100 * n / samples[v] for n in counts[v]] for v in chosen]
    tips = [
        [f"{taxonomy.names[v]}: {n} of {samples[v]}, {name}" for n, name in zip(counts[v], names, strict=True)]
        for v in chosen
    ]
    without = taxonomy.level_sizes[level] - len(chosen)
    rest = f" {without} without a mistake are left out." if without else ""
    return Picture(
        "breaks_by_node",
        f"The same for the images of each {taxonomy.levels[level]}, most mistakes first.{rest}",
        f"Stacked bars, a bar a {taxonomy.levels[level]}; the figures are in the table of mistakes by node below.",
        partial(
            stacked_bars,
            [taxonomy.names[v] for v in chosen],
            shares,
            names,
            tips,
            f"wrong paths [% of the {taxonomy.levels[level]}'s images]",
            FULL,
        ),
        wide=True,
    )


def _break_nodes(breaks: Breaks) -> Table:
    """Nodes at which most paths part."""
    taxonomy = breaks.taxonomy
    reached, parted = breaks.reached.tolist(), breaks.parted.tolist()
    order = sorted((v for v in range(len(parted)) if parted[v]), key=lambda v: (-parted[v], -parted[v] / reached[v], v))
    wrong = sum(parted)
    rows = tuple(
        (
            taxonomy.names[v] if v < taxonomy.num_nodes else ROOT,
            taxonomy.levels[int(taxonomy.level[v])] if v < taxonomy.num_nodes else "",
            f"{parted[v]}",
            f"{reached[v]}",
            f"{100 * parted[v] / reached[v]:.1f}",
            f"{100 * parted[v] / wrong:.1f}",
        )
        for v in order[:_LISTED]
    )
    return Table(
        "break_nodes",
        f"The nodes at which paths part, most mistakes first{shown_of(len(order), _LISTED)}. Came: images whose "
        "predicted path was right as far as this node. In %: of these, those that took a wrong child; and of all "
        "mistakes.",
        ("at", "level", "parted", "came", "%", "% of all"),
        rows,
        labels=2,
        narrow=True,
        brief=6,
    )


def _shares(breaks: Breaks) -> Table:
    """Per node above the leaves the share of its mistakes by depth of the LCA."""
    taxonomy = breaks.taxonomy
    counts, samples = breaks.by_depth.tolist(), breaks.samples.tolist()
    inner = [v for v in range(taxonomy.num_nodes) if sum(counts[v]) and int(taxonomy.num_children[v])]
    inner = sorted(inner, key=lambda v: (int(taxonomy.level[v]), -sum(counts[v]), v))
    rows = tuple(
        (
            taxonomy.names[v],
            taxonomy.levels[int(taxonomy.level[v])],
            f"{samples[v]}",
            f"{sum(counts[v])}",
            *(f"{100 * n / sum(counts[v]):.0f}" for n in counts[v]),
        )
        for v in inner[:100]
    )
    return Table(
        "breaks_by_node",
        f"Mistakes on the images of each node{shown_of(len(inner), 100)}, and their share in % by where the "
        "path breaks.",
        ("node", "level", "images", "mistakes", *part_names(taxonomy)),
        rows,
        labels=2,
        folded=True,
        brief=0,
    )
