"""The table a run ends with: a row a card, figures without intervals; and what other tables of cards share with it."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace

from hierfit.results.card import ResultCard, shots_text
from hierfit.results.columns import columns, figure, holds_classes_back
from hierfit.results.table import NAME, Table

READING = (
    "% on the test split{over_seeds}. leaf acc: the best leaf. FPA and TICE (lower is better): each level's own "
    "argmax; –: inner nodes were not trained. FPA decoded: by the decoder that val chose{decoders}. Levels: the most "
    "probable node, a node's probability being the sum of its leaves'."
)
_READING_NOVEL = (
    "% leaf accuracy on the test split: base classes among base, novel among novel, their harmonic mean H, and H of "
    "each level by the best leaf's path; /all: with all classes as candidates; AUSUC: area under the seen-unseen curve."
)


def run_table(cards: Sequence[ResultCard]) -> Table:
    """Its row of each card, of one data set, seed and shots; the last one says on what all stand."""
    levels, last = cards[0].levels, cards[-1]
    shown, reading = columns("default", cards, levels), _READING_NOVEL
    if not holds_classes_back(cards):
        chose: dict[str, list[str]] = {}
        for belief, row in ((card.belief, card.row) for card in cards if card.belief):
            decoder = {"best_path": "best path", "rollup": "roll-up"}[str(belief["scores"])]
            chose.setdefault(decoder + ("" if belief["val_images"] else ", without val to choose"), []).append(row)
        listed = "; ".join(name if len(chose) == 1 else f"{name}: {', '.join(rows)}" for name, rows in chose.items())
        reading = READING.format(over_seeds="", decoders=f" ({listed})" if listed else "")
    elif len(levels) > 1:
        shown += columns(",".join(f"h/{level}@base_to_novel" for level in levels[:-1]), cards, levels)
    rows = [[card.row, *(figure(card, column.key) for column in shown)] for card in cards]
    title = f"{title_of(last, (last.seed,))} · selected on {last.selected_on}"
    return replace(Table.of(title, [NAME, *shown], rows, reading), notes=tuple(unmeasured(cards)))


def title_of(card: ResultCard, seeds: Sequence[int]) -> str:
    """One line that says on what the figures of a table stand; with the seeds that all of its rows have."""
    images, protocol = (card.data.get("images") or {}).get("test"), card.data.get("protocol", "all classes")
    parts = [str(card.data.get("card")), *([] if protocol == "all classes" else [protocol]), shots_text(card.data)]
    parts += [f"seed{'s' if len(seeds) > 1 else ''} {', '.join(map(str, seeds))}"] if seeds else []
    parts += [] if images is None else [f"{images} test images"]
    return " · ".join([*parts, str(card.backbone.get("source"))])


def unmeasured(cards: Iterable[ResultCard]) -> Iterator[str]:
    """A note on old cards, which lack figures of newer ones."""
    if old := dict.fromkeys(card.row for card in cards if card.metrics and not card.belief):
        yield f"{', '.join(old)}: made by hierfit 0.1; `hierfit rescore --write RUN` fills in what it did not measure."
