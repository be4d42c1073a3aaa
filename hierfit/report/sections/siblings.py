"""The siblings that are taken for each other, with pictures."""

from __future__ import annotations

from hierfit.report.analysis.breaks import Pair, sibling_pairs
from hierfit.report.blocks import Block, Gallery, Omitted, Section, Strip, Table, Thumbnail, Words, shown_of
from hierfit.report.evidence import Evidence, Run

TITLE = "Worst sibling pairs"

_LISTED, _PICTURED = 15, 6
_MISTAKES = 3  # pictures of each direction


def section(evidence: Evidence) -> Section | Omitted:
    """Of runs with mistakes."""
    run = evidence.focus
    pairs = sibling_pairs(run.breaks)
    if not pairs:
        return Omitted(TITLE, "no path takes a node for its sibling.")
    wrong, listed = int(run.breaks.wrong.sum()), sum(pair.confused for pair in pairs[:5])
    blocks: list[Block] = [_table(run, pairs)]
    if run.pictures.missing:
        blocks.append(Words(f"No pictures: {run.pictures.missing}", "note"))
    else:
        blocks.append(_gallery(run, pairs[:_PICTURED]))
    most = f"The five worst of {len(pairs)} pairs hold" if len(pairs) > 5 else "These hold"
    lead = f"Every mistake takes one node for its sibling. {most} {listed / wrong:.0%} of all {wrong} mistakes."
    return Section("sibling-pairs", TITLE, lead, tuple(blocks))


def _table(run: Run, pairs: list[Pair]) -> Table:
    taxonomy = run.breaks.taxonomy
    rows = tuple(
        (
            taxonomy.names[p.a],
            taxonomy.names[p.b],
            taxonomy.levels[int(taxonomy.level[p.a])],
            str(p.a_as_b),
            str(p.b_as_a),
            f"{100 * p.confused / p.arrived:.1f}",
        )
        for p in pairs[:_LISTED]
    )
    return Table(
        "sibling_pairs",
        f"Siblings taken for each other{shown_of(len(pairs), _LISTED)}, most mistakes first: images of A taken for B "
        "and of B for A, and both in % of the images of either whose predicted path came as far as their parent.",
        ("A", "B", "level", "A as B", "B as A", "%"),
        rows,
        labels=3,
        brief=8,
    )


def _gallery(run: Run, pairs: list[Pair]) -> Gallery:
    taxonomy = run.breaks.taxonomy
    strips = []
    for pair in pairs:
        a, b = taxonomy.names[pair.a], taxonomy.names[pair.b]
        pictures = [
            *_right(run, pair.a),
            *_taken(run, pair.a, pair.b),
            *_taken(run, pair.b, pair.a),
            *_right(run, pair.b),
        ]
        strips.append(Strip(f"{a} and {b}", f"{pair.a_as_b} and {pair.b_as_a} images", tuple(pictures)))
    return Gallery(
        "confused_pairs",
        "Test images of the worst pairs: first and last one that was recognised, between them some that were not.",
        tuple(strips),
    )


def _right(run: Run, node: int) -> list[Thumbnail]:
    breaks = run.breaks
    rows = ((breaks.true_path == node).any(dim=1) & ~breaks.wrong).nonzero()[:1, 0].tolist()
    name = breaks.taxonomy.names[node]
    return _shown(run, rows, f"{name}, recognised", f"{name} ✓")


def _taken(run: Run, true: int, predicted: int) -> list[Thumbnail]:
    breaks, names = run.breaks, run.breaks.taxonomy.names
    rows = ((breaks.true_child == true) & (breaks.predicted_child == predicted)).nonzero()[:_MISTAKES, 0].tolist()
    said = f"{names[true]} taken for {names[predicted]}"
    return _shown(run, rows, said, f"✗ {names[true]}")


def _shown(run: Run, rows: list[int], alt: str, caption: str) -> list[Thumbnail]:
    found = [run.pictures.thumbnail(run.indices[row], alt, caption) for row in rows]
    return [picture for picture in found if picture is not None]
