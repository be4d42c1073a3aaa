"""The siblings that are taken for each other, with pictures."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hierfit.errors import UserError
from hierfit.report.blocks import Block, Gallery, Sheet, Strip, Thumbnail, Words, shown_of
from hierfit.report.breaks import Pair, sibling_pairs
from hierfit.report.evidence import Evidence, Run
from hierfit.results.table import Column, Table

_LISTED, _PICTURED = 15, 6
_MISTAKES = 3  # pictures of each direction


def section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs with mistakes."""
    run = evidence.focus
    pairs = sibling_pairs(run.breaks)
    if not pairs:
        raise UserError("no path takes a node for its sibling.")
    wrong, listed = int(run.breaks.wrong.sum()), sum(pair.confused for pair in pairs[:5])
    missing = run.pictures.missing
    shown = Words(f"No pictures: {missing}", is_note=True) if missing else _gallery(run, pairs[:_PICTURED])
    most = f"The five worst of {len(pairs)} pairs hold" if len(pairs) > 5 else "These hold"
    lead = f"Every mistake takes one node for its sibling. {most} {listed / wrong:.0%} of all {wrong} mistakes."
    return lead, (_sheet(run, pairs), shown)


def _sheet(run: Run, pairs: list[Pair]) -> Sheet:
    tree = run.breaks.taxonomy
    rows = [
        (
            *(tree.names[v] for v in (p.a, p.b)),
            tree.levels[int(tree.level[p.a])],
            p.a_as_b,
            p.b_as_a,
            p.confused / p.arrived,
        )
        for p in pairs[:_LISTED]
    ]
    table = Table.of(
        f"Siblings taken for each other{shown_of(len(pairs), _LISTED)}, most mistakes first",
        ("A", "B", "level", Column("A as B", "count"), Column("B as A", "count"), Column("%", "%", 1)),
        rows,
        "Images of A taken for B and of B for A, and both in % of the images of either whose predicted path came as "
        "far as their parent.",
    )
    return Sheet("sibling_pairs", table, brief=8)


def _gallery(run: Run, pairs: list[Pair]) -> Gallery:
    breaks, names = run.breaks, run.breaks.taxonomy.names

    def shown(chosen: Tensor, most: int, alt: str, caption: str) -> list[Thumbnail]:
        rows = chosen.nonzero()[:most, 0].tolist()
        found = [run.pictures.thumbnail(run.reading.indices[row], alt, caption) for row in rows]
        return [picture for picture in found if picture is not None]

    def right(node: int) -> list[Thumbnail]:
        chosen = (breaks.true_path == node).any(dim=1) & ~breaks.wrong
        return shown(chosen, 1, f"{names[node]}, recognised", f"{names[node]} ✓")

    def taken(true: int, predicted: int) -> list[Thumbnail]:
        chosen = (breaks.true_child == true) & (breaks.predicted_child == predicted)
        return shown(chosen, _MISTAKES, f"{names[true]} taken for {names[predicted]}", f"✗ {names[true]}")

    strips = []
    for pair in pairs:
        pictures = [*right(pair.a), *taken(pair.a, pair.b), *taken(pair.b, pair.a), *right(pair.b)]
        heading = f"{names[pair.a]} and {names[pair.b]}"
        strips.append(Strip(heading, f"{pair.a_as_b} and {pair.b_as_a} images", tuple(pictures)))
    caption = "Test images of the worst pairs: first and last one that was recognised, between them some that were not."
    return Gallery("confused_pairs", caption, tuple(strips))
