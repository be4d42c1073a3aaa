"""Confusion between classes, in the order of the tree."""

from __future__ import annotations

from functools import partial

from hierfit.report.analysis.confusion import Confusion, confusion
from hierfit.report.blocks import Omitted, Picture, Section, Table, shown_of
from hierfit.report.drawing.heat import confusion_map
from hierfit.report.evidence import Evidence

TITLE = "Confusion, ordered by the tree"

_LISTED = 15


def section(evidence: Evidence) -> Section | Omitted:
    """Of runs that kept their test logits."""
    reading = evidence.focus.reading
    found = confusion(reading.decoded, reading.target, reading.taxonomy)
    if not len(found.counts):
        return Omitted(TITLE, "no test image is labelled down to a level that can be shown.")
    level = reading.taxonomy.levels[found.depth]
    off = found.rows != found.columns
    wrong = int(found.counts[off].sum())
    blocks = (
        Picture(
            "confusion",
            f"{len(found.nodes)} classes at the level {level}, siblings beside each other; frames hold the children of "
            f"one node. The shade is the share of the true class's images. {_coarser(found)}".strip(),
            f"Map of confusion. {wrong} images lie off the diagonal; {_inside(found)} The largest cells are in the "
            "table below.",
            partial(confusion_map, found),
            wide=True,
        ),
        _table(found),
    )
    return Section("confusion", TITLE, f"{_inside(found)} Mistakes near the diagonal are near in the tree.", blocks)


def _coarser(found: Confusion) -> str:
    said = []
    if found.depth < found.taxonomy.num_levels - 1:
        said.append("Finer levels have too many classes for a map.")
    if found.left_out:
        said.append(f"{found.left_out} classes with fewer mistakes are left out.")
    return " ".join(said)


def _inside(found: Confusion) -> str:
    """How much of the confusion stays within a frame."""
    off = found.rows != found.columns
    wrong = int(found.counts[off].sum())
    if not wrong:
        return "No class of this level is taken for another."
    if found.depth == 0:
        return f"{wrong} images are taken for another {found.taxonomy.levels[0]}."
    parents = found.taxonomy.parent[found.nodes]
    inside = int(found.counts[off & (parents[found.rows] == parents[found.columns])].sum())
    above = found.taxonomy.levels[found.depth - 1]
    level = found.taxonomy.levels[found.depth]
    return f"Of {wrong} images taken for another {level}, {inside / wrong:.0%} stay in the right {above}."


def _table(found: Confusion) -> Table:
    names = [found.taxonomy.names[node] for node in found.nodes.tolist()]
    totals = found.row_totals.tolist()
    cells = zip(found.rows.tolist(), found.columns.tolist(), found.counts.tolist(), strict=True)
    wrong = sorted(((r, c, n) for r, c, n in cells if r != c), key=lambda cell: (-cell[2], cell[0], cell[1]))
    return Table(
        "confusion",
        f"The largest cells off the diagonal{shown_of(len(wrong), _LISTED)}.",
        ("true", "predicted", "images", "of"),
        tuple((names[r], names[c], str(n), str(totals[r])) for r, c, n in wrong[:_LISTED]),
        labels=2,
        folded=True,
        brief=0,
    )
