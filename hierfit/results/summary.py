"""Result cards as tables: a run's own figures, or means over seeds with intervals and differences to a control."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby
from typing import Any

from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.results.columns import columns, figure, holds_classes_back, published_for
from hierfit.results.ended import READING, run_table, title_of, unmeasured
from hierfit.results.rows import agreement, told_apart
from hierfit.results.statistics import LEAST, p_value, paired_difference, t_interval, verdicts
from hierfit.results.table import HELPS, HURTS, NAME, SEEDS, Cell, Column, Table

BySeed = Mapping[int, ResultCard]

_OVER_SEEDS = ", mean ± 95 % t-interval over seeds, of one seed the figure alone"
_READING_DIFFERENCES = (
    f" {HELPS} helps, {HURTS} hurts: by a paired t-test over seeds at 5 %, corrected for all differences of the table "
    "(Holm), and by 0.2 points or more. No mark: no evidence, also where an interval excludes 0."
)
_ORIGIN = ("selected_on", "tuned_on")


def tables(cards: Sequence[ResultCard], control: str | None = None, choice: str = "default") -> list[Table]:
    """A table for each data set, number of shots and backbone; rows are methods, figures means over seeds.

    Args:
        cards: In any order. Rows of one name that were set otherwise are told apart, see `told_apart`.
        control: Row to which paired differences are added; tables without it go without.
        choice: Columns; see `hierfit.results.columns.columns`.

    Raises:
        UserError: No card is the control's; a row shares no seed with the control, or was trained on another draw than
            it; or a column does not exist.
    """
    if not cards:
        raise UserError("There is no result card to make a table of.")

    def order(card: ResultCard) -> tuple[Any, ...]:
        shots = card.data.get("shots")
        size = shots is None, shots or 0
        return str(card.data.get("card")), str(card.backbone.get("source")), *size, repr(agreement(card))

    named, noted = told_apart(sorted(cards, key=order))
    names = list(dict.fromkeys(card.row for card in named))
    if control is not None and control not in names:
        raise UserError(f"No run has the row {control!r}.", hint=f"Rows: {', '.join(names)}.")
    return [
        table(list(group), control, choice, cards, [note for of, note in noted if of == place])
        for place, group in groupby(named, key=agreement)
    ]


def table(
    cards: Sequence[ResultCard],
    control: str | None = None,
    choice: str = "default",
    known: Sequence[ResultCard] = (),
    notes: Iterable[str] = (),
) -> Table:
    """One table of cards that may stand in one, named as they are to be shown, the control first; see `tables`.

    ``known`` are cards that say which columns there are, ``cards`` if empty; ``notes`` stand before its own.
    """
    first, noted, sources = cards[0], list(notes), dict[str, list[str]]()
    rows = {name: _by_seed(name, cards, noted) for name in dict.fromkeys(card.row for card in cards)}
    figures = columns(choice, known or cards, first.levels)
    base = rows.get(control) if control is not None else None
    if control is not None and base is not None:
        _check_pairs(rows, control)
        rows = {control: base, **rows}
    elif control is not None:
        noted.append(f"No run of {control} here, so no differences.")
    body = [_row(name, row, figures, None if row is base else base) for name, row in rows.items()]
    for found in published_for(first):
        cells = found.cells(first.data["card"], figures)
        body.append([f"{found.row} (published)", found.seeds, *cells, found.selected_on, "unknown"])
        sources.setdefault(found.source, []).append(found.row)
    for source, names in sources.items():
        its = "their prompts, transforms and draws are the paper's, their intervals unknown"
        noted.append(f"Published ({', '.join(names)}): {source}; {its}.")
    _mark(body, figures)
    origin = [Column(key.replace("_", " "), key=key) for key in _ORIGIN]
    common = {row[1] for row in body}
    title = title_of(first, *common) if len(common) == 1 else title_of(first, ())
    made = Table.of(title, [NAME, Column("seeds", SEEDS, key="seeds"), *figures, *origin], body)
    reading = READING.format(over_seeds=_OVER_SEEDS, decoders="")
    return replace(
        made,
        reading=reading if base is None else reading + _READING_DIFFERENCES,
        notes=(*noted, *_notes(rows, base)),
        control=None if base is None else control,
        facts={
            **{"data": first.data.get("card"), "shots": first.data.get("shots")},
            **{"backbone": first.backbone.get("source"), "test_images": (first.data.get("images") or {}).get("test")},
        },
    )


def _row(name: str, row: BySeed, figures: Sequence[Column], base: BySeed | None) -> list[Any]:
    cells = []
    for column in figures:
        values = {seed: value for seed, card in row.items() if (value := figure(card, column.key)) is not None}
        of_base = {seed: figure(base[seed], column.key) for seed in values if base and seed in base}
        pairs = [(values[seed], other) for seed, other in of_base.items() if other is not None]
        difference = paired_difference([a for a, _ in pairs], [b for _, b in pairs]) if pairs else None
        cells.append(Cell(t_interval([*values.values()]) if values else None, difference, of=len(row)))
    return [name, tuple(row), *cells, *(_list(dict.fromkeys(getattr(c, key) for c in row.values())) for key in _ORIGIN)]


def _mark(body: Sequence[list[Any]], figures: Sequence[Column]) -> None:
    """Puts into cells what each difference says, corrected over all of the table (Holm).

    Nothing where no side of the figure is better. A figure that stands in two columns (leaf accuracy and accuracy of
    the finest level) is one test, unless less is better in one of them.
    """
    tests: dict[tuple[Any, ...], list[tuple[list[Any], int]]] = {}
    for row in body:
        for i, column in enumerate(figures, 2):
            if row[i].difference is not None and column.higher_is_better is not None:
                test = row[i].difference, column.unit, column.higher_is_better, row[0]
                tests.setdefault(test, []).append((row, i))
    found = verdicts(
        [(difference.mean, p_value(difference), better) for difference, _, better, _ in tests],
        [LEAST if unit == "%" else 0.0 for _, unit, _, _ in tests],
    )
    for mark, places in zip(found, tests.values(), strict=True):
        for row, i in places:
            row[i] = replace(row[i], mark=mark)


def _by_seed(name: str, cards: Sequence[ResultCard], notes: list[str]) -> dict[int, ResultCard]:
    """Cards of a row by seed, ascending. A run made twice counts once."""
    found, again = dict[int, ResultCard](), list[int]()
    for card in sorted((card for card in cards if card.row == name), key=lambda card: card.seed):
        if found.setdefault(card.seed, card) is not card:
            again.append(card.seed)
    if again:
        notes.append(f"{name} was run more than once with seed {_list(dict.fromkeys(again))}; the first counts.")
    return found


def _check_pairs(rows: Mapping[str, BySeed], control: str) -> None:
    base, problems = rows[control], []
    for name, row in rows.items():
        shared = [seed for seed in row if seed in base]
        other = [seed for seed in shared if row[seed].data.get("draw") != base[seed].data.get("draw")]
        if not shared:
            problems.append(f"{name} has seeds {_list(row)}, {control} has {_list(base)}")
        if other:
            problems.append(f"{name} was trained on another draw with seed {_list(other)}")
    if problems:
        hint = "Run both with the same seeds, data and shots."
        raise UserError(f"Differences to {control!r} cannot be paired.", problems, hint)


def _notes(rows: Mapping[str, BySeed], base: BySeed | None) -> Iterator[str]:
    """What keeps rows from being compared: other seeds, draws or trees, or what old cards did not measure."""
    if len({tuple(row) for row in rows.values()}) > 1:
        listed = "; ".join(f"{name}: {_list(row)}" for name, row in rows.items())
        paired = " Differences use the seeds both have." if base is not None else ""
        yield f"Rows have different seeds, so their means are not of the same draws ({listed}).{paired}"
    seeds = sorted({seed for row in rows.values() for seed in row})
    draws = {seed: {repr(row[seed].data.get("draw")) for row in rows.values() if seed in row} for seed in seeds}
    if mixed := [seed for seed, found in draws.items() if len(found) > 1]:
        yield f"Rows were trained on different draws with seed {_list(mixed)}."
    yield from unmeasured(card for row in rows.values() for card in row.values())
    trees = {name: {card.data.get("taxonomy_fingerprint") for card in row.values()} for name, row in rows.items()}
    first, usual = next(iter(trees.items()))
    if others := [name for name, tree in trees.items() if tree != usual]:
        yield f"Scored on another tree than {first}: {_list(others)}. Compare leaf accuracy only."


def _list(items: Iterable[Any]) -> str:
    return ", ".join(map(str, items))


def run_tables(cards: Sequence[ResultCard]) -> list[Table]:
    """A table for each experiment, seed and data set, in the order of the cards; rows of one name told apart."""
    made = []
    for _, group in groupby(cards, key=lambda c: (c.experiment, c.seed, c.data["card"], c.data.get("draw"), c.levels)):
        rows, notes = told_apart(list(group))
        table = run_table(rows)
        made.append(replace(table, notes=(*(note for _, note in notes), *table.notes)))
    return made


def overviews(cards: Sequence[ResultCard]) -> list[Table]:
    """Tables over several data sets, as papers print them: an average, and a column for each; published rows below.

    One for each number of shots and backbone of which there are results on several data sets. With classes held back,
    the average has the harmonic mean of its base and its novel accuracy, as in the papers; each data set has its own.
    Of runs that were tested on other data sets too, these make the average, and not the source.
    """

    def group(card: ResultCard) -> tuple[str, str]:
        return str(card.data.get("shots")), str(card.backbone.get("source"))

    found = [list(own) for _, own in groupby(sorted(cards, key=group), key=group)]
    return [_overview(own) for own in found if len({card.data["card"] for card in own}) > 1]


def _overview(cards: Sequence[ResultCard]) -> Table:
    names = {"leaf acc": "leaf_accuracy@rollup"}
    if holds_classes_back(cards):
        names = {name: f"{name.lower()}@base_to_novel" for name in ("base", "novel", "H")}
    keys, by_set = list(names.values()), "H" if "H" in names else "leaf accuracy"
    sets = list(dict.fromkeys(str(card.data["card"]) for card in cards))
    targets = {str(c.data["card"]) for c in cards if str(c.data.get("protocol")).startswith("trained on")}
    averaged = [name for name in sets if name in targets or not targets]
    columns = [Column(f"average {name}", "%", key=f"average {key}") for name, key in names.items()]
    columns += [Column(name.removesuffix("_coop"), "%", key=name) for name in sets]

    def figures(run: Mapping[tuple[str, str], float | None]) -> list[float | None]:
        """Of one row and seed: averages, None where a set is not there yet, then of each set; H is that of averages."""
        found: list[float | None] = []
        for key in keys:
            known = [value for name in averaged if (value := run.get((name, key))) is not None]
            found.append(sum(known) / len(known) if len(known) == len(averaged) else None)
        if len(keys) == 3 and found[0] is not None and found[1] is not None:
            found[2] = 2 * found[0] * found[1] / max(found[0] + found[1], 1e-12)
        return [*found, *(run.get((name, keys[-1])) for name in sets)]

    rows: dict[str, dict[int, dict[tuple[str, str], float | None]]] = {}
    published: dict[tuple[str, str, tuple[int, ...]], dict[tuple[str, str], float | None]] = {}
    for card in cards:
        run = rows.setdefault(card.row, {}).setdefault(card.seed, {})
        run |= {(str(card.data["card"]), key): figure(card, key) for key in keys}
        for found in published_for(card):
            printed = {(name, key): value / 100 for name, own in found.figures.items() for key, value in own.items()}
            published.setdefault((found.row, found.source, found.seeds), {}).update(printed)
    body: list[list[Any]] = []
    for row, seeds in rows.items():
        values = [[v for v in of if v is not None] for of in zip(*map(figures, seeds.values()), strict=True)]
        body.append([row, tuple(seeds), *(Cell(t_interval(of) if of else None, of=len(seeds)) for of in values)])
    body += [[f"{row} (published)", seeds_of, *figures(run)] for (row, _, seeds_of), run in published.items()]
    over = f"average over {len(averaged)} of {len(sets)} data sets" if targets else f"{len(sets)} data sets"
    title = f"{over} · {cards[0].data.get('shots')} shots a leaf · {cards[0].backbone.get('source')} · by set: {by_set}"
    return Table.of(title, [NAME, Column("seeds", SEEDS, key="seeds"), *columns], body)
