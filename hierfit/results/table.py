"""The table a run ends with: one row a card, read from result cards only."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from textwrap import wrap

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.results.card import ResultCard
from hierfit.results.columns import Column, columns, holds_classes_back
from hierfit.results.shots import shots_text

GAP = 2

_NOVEL_LEGEND = (
    "% leaf accuracy on the test split: base classes among base, novel among novel, their harmonic mean H, and H of "
    "each level by the best leaf's path; /all: with all classes as candidates; AUSUC: area under the seen-unseen curve."
)


def print_results(cards: Sequence[ResultCard], console: Console | None = None) -> None:
    """Prints what was measured on what, the table, and how to read it."""
    console = console or Console()
    console.print()
    console.print(describe(cards[-1]), style="dim", highlight=False, soft_wrap=True)
    for table in result_tables(cards, console.width):
        console.print(table)
    console.print(_NOVEL_LEGEND if holds_classes_back(cards) else legend(cards), style="dim", highlight=False)


def result_tables(cards: Sequence[ResultCard], width: int) -> Iterator[Table]:
    """A table of cards that share their levels; all figures in %. Columns that do not fit follow below, under the
    rows' names again.

    Args:
        cards: One a row, in the order shown.
        width: Of the console.
    """
    levels = cards[0].levels
    shown: tuple[Column, ...] = columns("default", cards, levels)
    if holds_classes_back(cards) and len(levels) > 1:
        shown = (*shown, *columns(",".join(f"h/{level}@base_to_novel" for level in levels[:-1]), cards, levels))
    headers = [_broken(column.header) for column in shown]
    cells = [[percent(column.value(card)) for column in shown] for card in cards]
    widths = [
        max(map(len, [*header, *column])) for header, column in zip(headers, zip(*cells, strict=True), strict=True)
    ]
    names = min(max(len(card.row) for card in cards), max(8, 3 * width // 10))
    for block in side_by_side(widths, width - names - 1):
        table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, GAP, 0, 0))
        table.add_column("", overflow="fold", width=names)
        for index in block:
            table.add_column(Text("\n".join(headers[index])), justify="right", no_wrap=True, vertical="bottom")
        for card, row in zip(cards, cells, strict=True):
            table.add_row(Text(card.row), *(row[index] for index in block))
        yield table


def side_by_side(widths: Sequence[int], room: int) -> list[list[int]]:
    """Columns that fit beside each other, by number; at least one a block."""
    blocks: list[list[int]] = []
    left = 0
    for index, width in enumerate(widths):
        if not blocks or left < width + GAP:
            blocks.append([])
            left = room
        blocks[-1].append(index)
        left -= width + GAP
    return blocks


def _broken(header: str) -> list[str]:
    """The lines of a header: a word each where it has several."""
    return wrap(header, 9, break_long_words=False, break_on_hyphens=False) if " " in header else [header]


def percent(value: float | None) -> str:
    """``96.93`` for 0.9693, a dash for what is not there."""
    return "–" if value is None else f"{100.0 * value:.2f}"


def describe(card: ResultCard) -> str:
    """One line that says on what the figures of a card stand."""
    data = card.data
    protocol = data.get("protocol", "all classes")
    held = "" if protocol == "all classes" else f"{protocol} · "
    return (
        f"{data['card']} · {held}{shots_text(data)} · seed {card.seed} · {data['images']['test']} test images · "
        f"{card.backbone['source']} · selected on {card.selected_on}"
    )


def legend(cards: Sequence[ResultCard]) -> str:
    """How to read the columns, and by which decoder each row's paths were decoded."""
    words = {"best_path": "best path", "rollup": "roll-up"}
    rows: dict[str, list[str]] = {}
    for card in cards:
        if not card.belief:
            decoder = "– made by hierfit 0.1, `hierfit rescore --write RUN` fills it in"
        else:
            decoder = words[str(card.belief["scores"])] + (
                "" if card.belief["val_images"] else ", without val to choose"
            )
        rows.setdefault(decoder, []).append(card.row)
    said = "; ".join(decoder if len(rows) == 1 else f"{decoder}: {', '.join(of)}" for decoder, of in rows.items())
    dashes = " –: inner nodes were not trained." if any("per_level" not in card.metrics for card in cards) else ""
    return (
        "% on the test split. leaf acc: the best leaf. FPA and TICE (lower is better): each level's own argmax."
        f"{dashes} FPA decoded: by the decoder that val chose ({said}). Levels: the most probable node, a node's "
        "probability being the sum of its leaves'."
    )
