"""Levels × decoders: what reading the same scores in another way gives for free."""

from __future__ import annotations

from collections.abc import Sequence

from hierfit.report.blocks import Section, Table
from hierfit.report.evidence import Evidence
from hierfit.results.card import ResultCard
from hierfit.results.columns import columns
from hierfit.results.sheet import DASH, figure_cell
from hierfit.results.statistics import t_interval

NAMES = {
    "per_level": "per-level argmax",
    "rollup": "leaf roll-up",
    "top_down": "top-down",
    "best_path": "best path",
    "belief": "most probable node of each level",
    "bayes": "least expected distance",
}


def section(evidence: Evidence) -> Section:
    """Of every report; the rows are the focus and its control."""
    focus = evidence.focus.card
    rows = list(dict.fromkeys([focus.row, *([evidence.control] if evidence.control else [])]))
    tables = [table(evidence.of_row(row), row) for row in rows]
    return Section(
        "decoders",
        "Levels and decoders",
        _lead(focus),
        tuple(found for found in tables if found.rows),
    )


def _lead(card: ResultCard) -> str:
    own, decoded = (card.metrics.get(name, {}).get("fpa") for name in ("per_level", "decoded"))
    if own is None or decoded is None:
        return "One set of scores, read in several ways."
    return (
        f"One set of scores, read in several ways. Each level on its own gets {100 * own:.1f} % of full paths right "
        f"(seed {card.seed}), the decoder that val chose {100 * decoded:.1f} %. What decoding gains, "
        "no training has to."
    )


def table(cards: Sequence[ResultCard], row: str) -> Table:
    """Accuracy of each level, FPA and TICE under each decoder, with intervals over the seeds of a row."""
    if not cards:
        return Table("decoders", "", (), ())
    levels = [f"accuracy/{level.replace('.', '_')}" for level in cards[0].levels]
    metrics = [*levels, "fpa", "tice"]
    rows: list[tuple[str, ...]] = []
    header: tuple[str, ...] = (row,)
    for decoder in NAMES:
        if not all(decoder in card.metrics for card in cards):
            continue
        shown = columns(",".join(f"{metric}@{decoder}" for metric in metrics), cards, cards[0].levels)
        cells = []
        for column in shown:
            values = [value for card in cards if (value := column.value(card)) is not None]
            cells.append(figure_cell(t_interval(values), column, len(cards)) if values else DASH)
        rows.append((NAMES[decoder], *cells))
        header = (row, *(column.header.removesuffix(f" {decoder.replace('_', ' ')}") for column in shown))
    seeds = ", ".join(str(card.seed) for card in sorted(cards, key=lambda c: c.seed))
    slug = "".join(sign if sign.isalnum() else "_" for sign in row)
    return Table(
        f"decoders_{slug}",
        f"{row}, seed{'s' if len(cards) > 1 else ''} {seeds}; accuracy a level, FPA and TICE in %, mean ± 95 % "
        "t-interval. Only per-level argmax can leave the tree, so only its TICE says anything of the scores.",
        header,
        tuple(rows),
    )
