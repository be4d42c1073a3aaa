"""The table a run ends with: one row a card, read from result cards only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from hierfit.report.card import ResultCard

# Header, decoder, metric. A roll-up makes TICE zero for free, so TICE is always that of per-level argmax.
COLUMNS: tuple[tuple[str, str, str], ...] = (
    ("leaf acc", "per_level", "leaf_accuracy"),
    ("FPA", "per_level", "fpa"),
    ("TICE", "per_level", "tice"),
    ("FPA best path", "best_path", "fpa"),
)


# Base and novel samples among their own kind, then with all classes as candidates.
NOVEL_COLUMNS: tuple[tuple[str, str, str], ...] = tuple(
    (header, "base_to_novel", metric)
    for header, metric in (
        ("base", "base"),
        ("novel", "novel"),
        ("H", "h"),
        ("base/all", "generalised_base"),
        ("novel/all", "generalised_novel"),
        ("H/all", "generalised_h"),
        ("AUSUC", "ausuc"),
    )
)
_LEGEND = "% on the test split. TICE (lower is better) and the levels are of per-level argmax; best path is decoded."
_NOVEL_LEGEND = (
    "% leaf accuracy on the test split: base classes among base, novel among novel, their harmonic mean H and H of "
    "each level; /all: with all classes as candidates; AUSUC: area under the seen-unseen curve."
)


def percent(value: Any) -> str:
    """``96.93`` for 0.9693, a dash for what is not there."""
    return "–" if value is None else f"{100.0 * value:.2f}"


def result_table(cards: Sequence[ResultCard], console: Console) -> Table:
    """A table of cards that share their levels; all figures in %.

    Where it is too wide, headers of several words take several lines, and only then do names of rows.

    Args:
        cards: One a row, in the order shown.
        console: Where it is to fit.
    """
    for broken in (False, True):
        table = _table(cards, broken)
        if console.measure(table).maximum < console.width:  # rich says the width where a table would be wider
            break
    return table


def _table(cards: Sequence[ResultCard], broken: bool) -> Table:
    columns, levels = list(COLUMNS), cards[0].levels
    if holds_classes_back(cards):
        columns = [*NOVEL_COLUMNS, *((f"H {level}", "base_to_novel", f"h/{level}") for level in levels[:-1])]
    else:
        columns += [(level, "per_level", f"accuracy/{level.replace('.', '_')}") for level in levels]
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", overflow="fold")
    for header, _, _ in columns:
        lines = header.replace(" ", "\n", 1) if broken else header
        table.add_column(lines, justify="right", overflow="fold", vertical="bottom")
    for card in cards:
        figures = [card.metrics.get(decoder, {}).get(metric) for _, decoder, metric in columns]
        table.add_row(card.row, *map(percent, figures))
    return table


def holds_classes_back(cards: Sequence[ResultCard]) -> bool:
    """Whether the cards are of a base-to-novel protocol."""
    return all("base_to_novel" in card.metrics for card in cards)


def describe(card: ResultCard) -> str:
    """One line that says on what the figures of a card stand."""
    data = card.data
    shots = f"{data['shots']} shots a leaf" if data.get("shots") else "all training images"
    protocol = data.get("protocol", "all classes")
    held = "" if protocol == "all classes" else f"{protocol} · "
    return (
        f"{data['card']} · {held}{shots} · seed {card.seed} · {data['images']['test']} test images · "
        f"{card.backbone['source']} · selected on {card.selected_on}"
    )


def print_results(cards: Sequence[ResultCard], console: Console | None = None) -> None:
    """Prints what was measured on what, the table, and how to read it."""
    console = console or Console()
    console.print()
    console.print(describe(cards[-1]), style="dim", highlight=False, soft_wrap=True)
    console.print(result_table(cards, console))
    console.print(
        _NOVEL_LEGEND if holds_classes_back(cards) else _LEGEND,
        style="dim",
        highlight=False,
    )
