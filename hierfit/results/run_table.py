"""The table a run ends with: a row a card, figures without intervals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby

from rich.console import Console

from hierfit.results.card import ResultCard, shots_text
from hierfit.results.columns import columns, figure, holds_classes_back
from hierfit.results.table import NAME, Table
from hierfit.results.variants import told_apart
from hierfit.results.writers import print_tables

_READING_NOVEL = (
    "% leaf accuracy on the test split: base classes among base, novel among novel, their harmonic mean H, and H of "
    "each level by the best leaf's path; /all: with all classes as candidates; AUSUC: area under the seen-unseen curve."
)


def print_results(cards: Sequence[ResultCard], console: Console | None = None) -> None:
    """Prints the table a run ends with; see `run_table`."""
    print_tables([run_table(cards)], console)


def run_table(cards: Sequence[ResultCard]) -> Table:
    """A row a card, figures without intervals.

    Args:
        cards: Of one data set, seed and shots; the last one says on what all stand.
    """
    levels, last = cards[0].levels, cards[-1]
    shown, reading = columns("default", cards, levels), _legend(cards)
    if holds_classes_back(cards):
        reading = _READING_NOVEL
        if len(levels) > 1:
            shown += columns(",".join(f"h/{level}@base_to_novel" for level in levels[:-1]), cards, levels)
    protocol = last.data.get("protocol", "all classes")
    parts = [
        last.data["card"],
        *([] if protocol == "all classes" else [protocol]),
        *(shots_text(last.data), f"seed {last.seed}", f"{last.data['images']['test']} test images"),
        *(last.backbone["source"], f"selected on {last.selected_on}"),
    ]
    rows = [[card.row, *(figure(card, column.key) for column in shown)] for card in cards]
    return Table.of(" · ".join(parts), [NAME, *shown], rows, reading)


def run_tables(cards: Sequence[ResultCard]) -> list[Table]:
    """A table for each experiment, seed and data set, in the order of the cards; rows of one name told apart."""
    made = []
    for _, group in groupby(cards, key=lambda c: (c.experiment, c.seed, c.data["card"], c.data.get("draw"), c.levels)):
        rows, notes = told_apart(list(group))
        made.append(replace(run_table(rows), notes=tuple(notes)))
    return made


def _legend(cards: Sequence[ResultCard]) -> str:
    """How to read the columns, and by which decoder each row's paths were decoded."""
    rows: dict[str, list[str]] = {}
    for card in cards:
        if card.belief:
            decoder = {"best_path": "best path", "rollup": "roll-up"}[str(card.belief["scores"])]
            decoder += "" if card.belief["val_images"] else ", without val to choose"
        else:
            decoder = "– made by hierfit 0.1, `hierfit rescore --write RUN` fills it in"
        rows.setdefault(decoder, []).append(card.row)
    decoders = "; ".join(decoder if len(rows) == 1 else f"{decoder}: {', '.join(of)}" for decoder, of in rows.items())
    dashes = " –: inner nodes were not trained." if any("per_level" not in card.metrics for card in cards) else ""
    return (
        "% on the test split. leaf acc: the best leaf. FPA and TICE (lower is better): each level's own argmax."
        f"{dashes} FPA decoded: by the decoder that val chose ({decoders}). Levels: the most probable node, a node's "
        "probability being the sum of its leaves'."
    )
