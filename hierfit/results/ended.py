"""The table a run ends with: a row a card, figures without intervals."""

from __future__ import annotations

from collections.abc import Sequence

from hierfit.results.card import ResultCard, shots_text
from hierfit.results.columns import columns, figure, holds_classes_back
from hierfit.results.table import NAME, Table

_READING_NOVEL = (
    "% leaf accuracy on the test split: base classes among base, novel among novel, their harmonic mean H, and H of "
    "each level by the best leaf's path; /all: with all classes as candidates; AUSUC: area under the seen-unseen curve."
)


def run_table(cards: Sequence[ResultCard]) -> Table:
    """Its row of each card, of one data set, seed and shots; the last one says on what all stand."""
    levels, last = cards[0].levels, cards[-1]
    shown, reading = columns("default", cards, levels), _reading_of(cards)
    if holds_classes_back(cards):
        reading = _READING_NOVEL
        if len(levels) > 1:
            shown += columns(",".join(f"h/{level}@base_to_novel" for level in levels[:-1]), cards, levels)
    protocol = last.data.get("protocol", "all classes")
    title = [last.data["card"], *([] if protocol == "all classes" else [protocol]), shots_text(last.data)]
    title += [f"seed {last.seed}", f"{last.data['images']['test']} test images", last.backbone["source"]]
    rows = [[card.row, *(figure(card, column.key) for column in shown)] for card in cards]
    return Table.of(" · ".join([*title, f"selected on {last.selected_on}"]), [NAME, *shown], rows, reading)


def _reading_of(cards: Sequence[ResultCard]) -> str:
    """How to read the columns of a run, and by which decoder each row's paths were decoded."""
    rows: dict[str, list[str]] = {}
    for card in cards:
        decoder = "– made by hierfit 0.1, `hierfit rescore --write RUN` fills it in"
        if card.belief:
            decoder = {"best_path": "best path", "rollup": "roll-up"}[str(card.belief["scores"])]
            decoder += "" if card.belief["val_images"] else ", without val to choose"
        rows.setdefault(decoder, []).append(card.row)
    decoders = "; ".join(decoder if len(rows) == 1 else f"{decoder}: {', '.join(of)}" for decoder, of in rows.items())
    dashes = " –: inner nodes were not trained." if any("per_level" not in card.metrics for card in cards) else ""
    return (
        "% on the test split. leaf acc: the best leaf. FPA and TICE (lower is better): each level's own argmax."
        f"{dashes} FPA decoded: by the decoder that val chose ({decoders}). Levels: the most probable node, a node's "
        "probability being the sum of its leaves'."
    )
