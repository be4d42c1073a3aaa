"""One table over several data sets, as papers print it: an average, and a column for each; published rows below."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby

from hierfit.results.card import ResultCard
from hierfit.results.columns import Published, figure, holds_classes_back, published_for
from hierfit.results.statistics import t_interval
from hierfit.results.table import NAME, SEEDS, Cell, Column, Table

LEAF = "leaf_accuracy@rollup"
BASE, NOVEL, H = (f"{name}@base_to_novel" for name in ("base", "novel", "h"))

Figures = Mapping[str, Mapping[str, float | None]]
"""Of one row and seed: by data set and column, fractions."""


def overviews(cards: Sequence[ResultCard]) -> list[Table]:
    """A table for each number of shots and backbone of which there are results on several data sets.

    With classes held back, the average has the harmonic mean of its base and its novel accuracy, as in the papers; each
    data set has its own. Of runs that were tested on other data sets too, these make the average, and not the source.
    """

    def group(card: ResultCard) -> tuple[str, str]:
        return str(card.data.get("shots")), str(card.backbone.get("source"))

    found = [list(own) for _, own in groupby(sorted(cards, key=group), key=group)]
    return [_overview(own) for own in found if len({card.data["card"] for card in own}) > 1]


def _overview(cards: Sequence[ResultCard]) -> Table:
    is_novel = holds_classes_back(cards)
    keys = (BASE, NOVEL, H) if is_novel else (LEAF,)
    sets = list(dict.fromkeys(str(card.data["card"]) for card in cards))
    targets = {str(c.data["card"]) for c in cards if str(c.data.get("protocol")).startswith("trained on")}
    averaged = [name for name in sets if name in targets or not targets]
    names = ("base", "novel", "H") if is_novel else ("leaf acc",)
    columns = [Column(f"average {name}", "%", key=f"average {key}") for name, key in zip(names, keys, strict=True)]
    columns += [Column(name.removesuffix("_coop"), "%", key=name) for name in sets]

    def cells(runs: Iterable[Figures]) -> list[Cell]:
        runs = list(runs)
        values = [
            [*_averages(run, averaged, keys), *(run.get(name, {}).get(keys[-1]) for name in sets)] for run in runs
        ]
        made = []
        for column in zip(*values, strict=True):
            known = [value for value in column if value is not None]
            made.append(Cell(t_interval(known) if known else None, of=len(runs)))
        return made

    rows: dict[str, dict[int, dict[str, dict[str, float | None]]]] = {}
    published: dict[tuple[str, str], list[Published]] = {}
    for card in cards:
        figures = {key: figure(card, key) for key in keys}
        rows.setdefault(card.row, {}).setdefault(card.seed, {})[str(card.data["card"])] = figures
        for each in published_for(card):
            published.setdefault((each.row, each.source), []).append(each)
    body = [[row, tuple(seeds), *cells(seeds.values())] for row, seeds in rows.items()]
    for (row, _), found in published.items():
        tables = [table for each in found for table in each.figures.items()]
        figures_of = {name: {key: percent / 100 for key, percent in own.items()} for name, own in tables}
        printed = [Cell(cell.number) for cell in cells([figures_of])]
        body.append([f"{row} (published)", found[0].seeds, *printed])
    over = f"average over {len(averaged)} of {len(sets)} data sets" if targets else f"{len(sets)} data sets"
    by_set = "H" if is_novel else "leaf accuracy"
    title = f"{over} · {cards[0].data.get('shots')} shots a leaf · {cards[0].backbone.get('source')} · by set: {by_set}"
    return Table.of(title, [NAME, Column("seeds", SEEDS, key="seeds"), *columns], body)


def _averages(run: Figures, sets: Sequence[str], keys: Sequence[str]) -> list[float | None]:
    """Of the columns over the sets; None where one of them is not there yet. H is that of the averages."""
    found: list[float | None] = []
    for key in keys:
        values = [run.get(name, {}).get(key) for name in sets]
        known = [value for value in values if value is not None]
        found.append(sum(known) / len(sets) if len(known) == len(sets) else None)
    if len(keys) == 3 and found[0] is not None and found[1] is not None:
        found[2] = 2 * found[0] * found[1] / max(found[0] + found[1], 1e-12)
    return found
