"""Levels × decoders: what reading the same scores in another way gives for free."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from hierfit.report.blocks import Block, Sheet
from hierfit.report.evidence import Evidence
from hierfit.results.card import ResultCard
from hierfit.results.columns import accuracy_of
from hierfit.results.summary import table as summary_table
from hierfit.results.table import Column, Table

NAMES = {
    "per_level": "per-level argmax",
    "rollup": "leaf roll-up",
    "top_down": "top-down",
    "best_path": "best path",
    "belief": "most probable node of each level",
    "bayes": "least expected distance",
}


def section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of every report; the rows are the focus and its control."""
    focus = evidence.focus.card
    lead = "One set of scores, read in several ways."
    own, decoded = (focus.metrics.get(name, {}).get("fpa") for name in ("per_level", "decoded"))
    if own is not None and decoded is not None:
        lead += (
            f" Each level on its own gets {100 * own:.1f} % of full paths right (seed {focus.seed}), the decoder that "
            f"val chose {100 * decoded:.1f} %. What decoding gains, no training has to."
        )
    rows = dict.fromkeys([focus.row, *([evidence.control] if evidence.control else [])])
    cards = {row: [card for card in evidence.of_table if card.row == row] for row in rows}
    return lead, [_sheet(found, row) for row, found in cards.items() if found]


def _sheet(cards: Sequence[ResultCard], row: str) -> Sheet:
    """Accuracy of each level, FPA and TICE under each decoder, with intervals over the seeds of a row."""
    metrics = [*map(accuracy_of, cards[0].levels), "fpa", "tice"]
    rows, columns = [], [Column(row)]
    for decoder, name in NAMES.items():
        if all(decoder in card.metrics for card in cards):
            made = summary_table(cards, choice=",".join(f"{metric}@{decoder}" for metric in metrics))
            rows.append([name, *made.rows[0][2:-2]])
            suffix = f" {decoder.replace('_', ' ')}"
            columns[1:] = [replace(c, header=c.header.removesuffix(suffix)) for c in made.columns[2:-2]]
    seeds = ", ".join(str(seed) for seed in sorted(card.seed for card in cards))
    seeds = f"seed{'s' if len(cards) > 1 else ''} {seeds}"
    title = f"{row}, {seeds}; accuracy a level, FPA and TICE in %, mean ± 95 % t-interval"
    reading = "Only per-level argmax can leave the tree, so only its TICE says anything of the scores."
    slug = "".join(sign if sign.isalnum() else "_" for sign in row)
    return Sheet(f"decoders_{slug}", Table.of(title, columns, rows, reading))
