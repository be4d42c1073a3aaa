"""Result cards brought together: a row for each method, with means and their intervals over its seeds."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from typing import Any

from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.results.columns import Column, columns
from hierfit.results.marks import LEAST, verdicts
from hierfit.results.published import Published, published_for
from hierfit.results.shots import shots_text
from hierfit.results.statistics import Estimate, Verdict, p_value, paired_difference, t_interval
from hierfit.results.variants import told_apart

BySeed = Mapping[int, ResultCard]


@dataclass(frozen=True)
class Row:
    """One method in one table.

    Attributes:
        name: The cards' row.
        seeds: Ascending.
        selected_on: What chose the checkpoints.
        tuned_on: What chose the hyper-parameters.
        values: One a column; None where no card has the figure. Fractions for ``%``.
        differences: To the control, paired over the seeds both have; one a column, None where there is no pair.
            Empty for the control itself and without a control.
        source: Of a row that a paper printed and nobody ran here; its values have no interval.
    """

    name: str
    seeds: tuple[int, ...]
    selected_on: str
    tuned_on: str
    values: tuple[Estimate | None, ...]
    differences: tuple[Estimate | None, ...] = ()
    source: str | None = None


@dataclass(frozen=True)
class Group:
    """Rows that may be compared: same data, test samples, shots, backbone and levels.

    Attributes:
        data: Name of the data card.
        shots: Training images a leaf; None for all.
        shots_said: The same in words, see `shots_text`.
        backbone: Source of the towers.
        test_images: Their number.
        columns: Of every row.
        rows: In the order in which they first came, the control first; published ones last.
        control: Name of the row the differences are to.
        notes: What a reader must know before comparing.
    """

    data: str
    shots: int | None
    shots_said: str
    backbone: str
    test_images: int | None
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    control: str | None = None
    notes: tuple[str, ...] = ()

    @cached_property
    def verdicts(self) -> Mapping[str, tuple[Verdict | None, ...]]:
        """What each row's differences say, by name of the row: corrected over all of this table (Holm).

        None where there is no difference or no side of the figure is better. A figure that stands in two columns (leaf
        accuracy and accuracy of the finest level) is one test.
        """
        tests = {
            # Better upwards and better downwards are not one test, though their figures agree.
            (row.name, difference, column.unit, column.higher_is_better): (
                difference.mean,
                p_value(difference),
                column.higher_is_better,
            )
            for row in self.rows
            for column, difference in zip(self.columns, row.differences, strict=False)
            if difference is not None and column.higher_is_better is not None
        }
        least = [LEAST if unit == "%" else 0.0 for _, _, unit, _ in tests]
        said = dict(zip(tests, verdicts(list(tests.values()), least), strict=True))
        return {
            row.name: tuple(
                None if d is None or c.higher_is_better is None else said[row.name, d, c.unit, c.higher_is_better]
                for c, d in zip(self.columns, row.differences, strict=False)
            )
            for row in self.rows
        }

    @property
    def title(self) -> str:
        """One line that says on what the figures stand."""
        seeds = {row.seeds for row in self.rows}
        shown = [f"seed{'s' if len(common) > 1 else ''} {_list(common)}" for common in seeds if len(seeds) == 1]
        images = [] if self.test_images is None else [f"{self.test_images} test images"]
        return " · ".join([self.data, self.shots_said, *shown, *images, self.backbone])


def summarise(cards: Sequence[ResultCard], control: str | None = None, wanted: str = "default") -> tuple[Group, ...]:
    """Groups cards by what must agree and takes means over seeds.

    Args:
        cards: In any order.
        control: Row to which paired differences are added; groups without it go without.
        wanted: Columns; see `hierfit.results.columns.columns`.

    Rows of one name that were set otherwise are told apart, see `told_apart`.

    Raises:
        UserError: No card is the control's; a row shares no seed with the control, or was trained on another draw than
            it; or a column does not exist.
    """
    if not cards:
        raise UserError("There is no result card to make a table of.")
    tables = [told_apart(list(found)) for _, found in groupby(sorted(cards, key=_order), key=agreement)]
    names = list(dict.fromkeys(card.row for table, _ in tables for card in table))
    if control is not None and control not in names:
        raise UserError(f"No run has the row {control!r}.", hint=f"Rows: {', '.join(names)}.")
    return tuple(_group(table, control, wanted, cards, notes) for table, notes in tables)


def agreement(card: ResultCard) -> tuple[Any, ...]:
    """What two cards must have in common for their figures to stand in one table."""
    data, backbone = card.data, card.backbone
    # The tree may differ, so that a shuffled tree can stand beside the true one: a note says so.
    named = ("card", "card_version", "card_fingerprint", "protocol", "shots")
    test = (data.get("draw") or {}).get("test")
    return (*(data.get(key) for key in named), test, backbone.get("source"), backbone.get("fingerprint"), card.levels)


def _order(card: ResultCard) -> tuple[Any, ...]:
    shots = card.data.get("shots")
    return (
        str(card.data.get("card")),
        str(card.backbone.get("source")),
        shots is None,
        shots or 0,
        repr(agreement(card)),
    )


def _group(
    cards: list[ResultCard],
    control: str | None,
    wanted: str,
    all_cards: Sequence[ResultCard],
    notes: list[str],
) -> Group:
    rows = {name: _by_seed(name, cards, notes) for name in dict.fromkeys(card.row for card in cards)}
    shown = columns(wanted, all_cards, cards[0].levels)
    base = rows.get(control) if control is not None else None
    if base is not None and control is not None:
        _check_pairs(rows, control)
        rows = {control: base, **rows}
    elif control is not None:
        notes.append(f"No run of {control} here, so no differences.")
    data = cards[0].data
    printed = [_published(found, str(data.get("card")), shown) for found in published_for(cards[0])]
    notes += [
        f"{row.name}: {row.source}; its prompts and transforms are its own, its interval unknown." for row in printed
    ]
    return Group(
        data=str(data.get("card")),
        shots=data.get("shots"),
        shots_said=shots_text(data),
        backbone=str(cards[0].backbone.get("source")),
        test_images=(data.get("images") or {}).get("test"),
        columns=shown,
        rows=(*(_row(name, row, shown, None if row is base else base) for name, row in rows.items()), *printed),
        control=control if base is not None else None,
        notes=(*notes, *_seed_notes(rows, base), *_draw_notes(rows), *_belief_notes(rows), *_tree_notes(rows)),
    )


def _row(name: str, row: BySeed, shown: Sequence[Column], base: BySeed | None) -> Row:
    return Row(
        name=name,
        seeds=tuple(row),
        selected_on=_together(card.selected_on for card in row.values()),
        tuned_on=_together(card.tuned_on for card in row.values()),
        values=tuple(_estimate(column, row) for column in shown),
        differences=() if base is None else tuple(_difference(column, row, base) for column in shown),
    )


def _published(found: Published, data: str, shown: Sequence[Column]) -> Row:
    figures = found.figures[data]
    values = [figures.get(column.key) for column in shown]
    return Row(
        name=f"{found.row} (published)",
        seeds=found.seeds,
        selected_on=found.selected_on,
        tuned_on="unknown",
        values=tuple(None if v is None else Estimate(v / 100, math.nan, len(found.seeds)) for v in values),
        source=found.source,
    )


def _estimate(column: Column, row: BySeed) -> Estimate | None:
    values = [value for card in row.values() if (value := column.value(card)) is not None]
    return t_interval(values) if values else None


def _difference(column: Column, row: BySeed, base: BySeed) -> Estimate | None:
    pairs = [(column.value(card), column.value(base[seed])) for seed, card in row.items() if seed in base]
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    return paired_difference([a for a, _ in both], [b for _, b in both]) if both else None


def _by_seed(name: str, cards: Sequence[ResultCard], notes: list[str]) -> dict[int, ResultCard]:
    """Cards of a row by seed, ascending. A run made twice counts once."""
    found: dict[int, ResultCard] = {}
    again: list[int] = []
    for card in sorted((card for card in cards if card.row == name), key=lambda c: c.seed):
        if card.seed in found:
            again.append(card.seed)
        else:
            found[card.seed] = card
    if again:
        notes.append(f"{name} was run more than once with seed {_list(dict.fromkeys(again))}; the first counts.")
    return found


def _check_pairs(rows: Mapping[str, BySeed], control: str) -> None:
    base = rows[control]
    problems = []
    for name, row in rows.items():
        shared = [seed for seed in row if seed in base]
        other = [seed for seed in shared if _draw(row[seed]) != _draw(base[seed])]
        if not shared:
            problems.append(f"{name} has seeds {_list(row)}, {control} has {_list(base)}")
        if other:
            problems.append(f"{name} was trained on another draw with seed {_list(other)}")
    if problems:
        raise UserError(
            f"Differences to {control!r} cannot be paired.", problems, "Run both with the same seeds, data and shots."
        )


def _seed_notes(rows: Mapping[str, BySeed], base: BySeed | None) -> list[str]:
    if len({tuple(row) for row in rows.values()}) == 1:
        return []
    listed = "; ".join(f"{name}: {_list(row)}" for name, row in rows.items())
    paired = " Differences use the seeds both have." if base is not None else ""
    return [f"Rows have different seeds, so their means are not of the same draws ({listed}).{paired}"]


def _belief_notes(rows: Mapping[str, BySeed]) -> list[str]:
    old = [name for name, row in rows.items() if any(card.metrics and not card.belief for card in row.values())]
    if not old:
        return []
    return [f"{_list(old)}: made by hierfit 0.1; `hierfit rescore --write RUN` fills in what it did not measure."]


def _draw_notes(rows: Mapping[str, BySeed]) -> list[str]:
    seeds = sorted({seed for row in rows.values() for seed in row})
    mixed = [seed for seed in seeds if len({repr(_draw(row[seed])) for row in rows.values() if seed in row}) > 1]
    return [f"Rows were trained on different draws with seed {_list(mixed)}."] if mixed else []


def _tree_notes(rows: Mapping[str, BySeed]) -> list[str]:
    trees = {name: {card.data.get("taxonomy_fingerprint") for card in row.values()} for name, row in rows.items()}
    first_name, usual = next(iter(trees.items()))
    others = [name for name, tree in trees.items() if tree != usual]
    if others:
        return [f"Scored on another tree than {first_name}: {_list(others)}. Compare leaf accuracy only."]
    return []


def _draw(card: ResultCard) -> Mapping[str, Any]:
    return card.data.get("draw") or {}


def _together(values: Any) -> str:
    return ", ".join(dict.fromkeys(values))


def _list(items: Any) -> str:
    return ", ".join(map(str, items))
