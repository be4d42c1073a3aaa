"""What was run, and what came of it: headline figures, a verdict in words, the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from hierfit.errors import UserError
from hierfit.metrics.functional import full_path_right, labelled
from hierfit.report.blocks import Block, Findings, Sheet, Tile, Tiles, Words
from hierfit.report.evidence import Evidence
from hierfit.results.compare import leaf_labelled, leaf_right
from hierfit.results.statistics import Estimate, Interval, Verdict, mcnemar, paired_bootstrap, verdicts
from hierfit.results.table import DASH, Cell, Column, Table

_HEADLINES = 4
_SIGNED = Column("", "%", signed=True)

Headlines = Sequence[tuple[Column, Cell]]


def section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of every report."""
    table, name = evidence.table, evidence.focus.card.row
    row = table.row(name)
    cells = [(column, row[column.key]) for column in table.columns if column.is_figure]
    seeds = row["seeds"].value
    one_seed = isinstance(seeds, tuple) and len(seeds) == 1
    tiles = [_tile(column, cell, table.control) for column, cell in cells[:_HEADLINES] if cell.number is not None]
    blocks: list[Block] = [Words(_what(evidence)), Tiles(tuple(tiles))]
    if any(cell.difference for _, cell in cells):
        found = _on_samples(evidence) if one_seed else _over_seeds(cells[:_HEADLINES], table.control)
        blocks += [Findings(tuple(found))] if found else []
    blocks += sheets(table, "summary")
    blocks += [Words(f"Note: {note}", is_note=True) for note in table.notes]
    return _lead(name, table.control, cells, one_seed), blocks


def others(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Tables of the runs that are not looked into: other data, shots or backbones."""
    found = [table for table in evidence.tables if table.title != evidence.table.title]
    if not found:
        raise UserError("all runs stand in the table of the summary.")
    lead = "Runs on other data, with other shots or backbones cannot stand in one table with the one looked into."
    return lead, [sheet for i, table in enumerate(found, 1) for sheet in sheets(table, f"other_runs_{i}", folded=True)]


def sheets(table: Table, name: str, folded: bool = False) -> list[Sheet]:
    """Figures and differences; what selected and tuned is said in words. A terminal shows them in its own way."""
    origins = [[str(cell.value) for cell in (row[0], *row[-2:])] for row in table.rows]
    origin = "; ".join(f"{row}: {selected}, {tuned}" for row, selected, tuned in origins)
    reading = f"{table.reading} Checkpoints selected on, and hyper-parameters from: {origin}."
    figures, *differences = table.without("selected_on", "tuned_on").parts()
    shown = [Sheet(name, replace(figures, reading="" if differences else reading), folded, brief=0)]
    for part in differences:
        title = f"{table.title}: difference to {table.control}, paired over seeds"
        shown.append(Sheet(f"{name}_differences", replace(part, title=title, reading=reading), folded, brief=0))
    return shown


def _what(evidence: Evidence) -> str:
    card = evidence.focus.card
    data = card.data
    levels = ", ".join(f"{name} {count}" for name, count in (data.get("levels") or {}).items())
    drawn = data.get("drawn") or data.get("shots")
    shots = "all training images" if drawn is None else f"{drawn} training images a leaf"
    trained, total = card.parameters.get("trainable"), card.parameters.get("total")
    size = f" with {trained:,} trained parameters" if trained else " without training"
    share = f" ({trained / total:.2%} of the model)" if trained and total else ""
    protocol = str(data.get("protocol", "all classes"))
    held = "" if protocol == "all classes" else f"Protocol: {protocol}. "
    return (
        f"{card.row} gives every image a path in a tree of classes ({levels}). It is {card.method} on "
        f"{card.backbone.get('source')}{size}{share}, learnt from {shots} and judged on "
        f"{evidence.table.facts['test_images']} test images of {data.get('card')}. "
        f"{held}Checkpoint selected on: {card.selected_on}; the test split has no say."
    )


def _tile(column: Column, cell: Cell, control: str | None) -> Tile:
    number, _, width = cell.text(column).removesuffix(f" ±{DASH}").partition(" ±")
    seeds = cell.value.n if isinstance(cell.value, Estimate) else 1
    interval = f"± {width} over {seeds} seeds" if seeds > 1 else "one seed: no interval"
    against = ""
    if cell.difference is not None and control:
        difference = Cell(cell.difference, mark=cell.mark).text(replace(column, signed=True))
        against = f"{difference.removesuffix(f' ±{DASH}')} against {control}"
    return Tile(column.header, number + (" %" if column.unit == "%" else ""), interval, against)


def _lead(name: str, control: str | None, cells: Headlines, one_seed: bool) -> str:
    marks = {cell.mark for _, cell in cells}
    if not any(cell.difference for _, cell in cells):
        return f"What {name} reaches; no control stands beside it."
    if one_seed:
        return f"What {name} reaches with one seed; what another draw would change is not known."
    if "helps" in marks:
        rest = "worse in others" if "hurts" in marks else "worse in none"
        return f"{name} is better than {control} in some figures and {rest}."
    if "hurts" in marks:
        return f"{name} is worse than {control} in some figures and better in none."
    return f"There is no evidence that {name} differs from {control}."


def _over_seeds(cells: Headlines, control: str | None) -> list[str]:
    """A sentence for each headline figure that can be held against the control's."""
    return [
        _finding(column.header, cell.difference, cell.mark, control, f"{cell.difference.n} seeds")
        for column, cell in cells
        if cell.difference is not None and column.unit == "%"
    ]


def _on_samples(evidence: Evidence) -> list[str]:
    """With one seed: focus and control on the same test images."""
    controls = [run for run in evidence.beside if run.card.row == evidence.control]
    if not controls or not evidence.focus.is_readable or not controls[0].is_readable:
        return []
    ours, theirs = evidence.focus.reading, controls[0].reading
    if ours.taxonomy != theirs.taxonomy or not ours.target.equal(theirs.target):
        return []
    tree, target = ours.taxonomy, ours.target
    right = {
        "leaf acc": (leaf_labelled(target, tree), [leaf_right(x.best_leaf, target, tree) for x in (ours, theirs)]),
        "FPA decoded": (labelled(target), [full_path_right(x.decoded, target, tree) for x in (ours, theirs)]),
    }
    found: Mapping[str, tuple[Interval, float]] = {
        name: (paired_bootstrap(a[rows].numpy(), b[rows].numpy()), mcnemar(a[rows].numpy(), b[rows].numpy()).p)
        for name, (rows, (a, b)) in right.items()
        if rows.any()
    }
    marks = verdicts([(difference.mean, p, True) for difference, p in found.values()])
    sentences = []
    for (name, (difference, p)), verdict in zip(found.items(), marks, strict=True):
        over = f"{difference.n} test images (McNemar p {f'= {p:.3f}' if p >= 0.001 else '< 0.001'})"
        sentences.append(_finding(name, difference, verdict, evidence.control, over))
    return sentences


def _finding(name: str, difference: Estimate | Interval, mark: Verdict | None, control: str | None, over: str) -> str:
    mean, low, high = (_SIGNED.number(value) for value in (difference.mean, difference.low, difference.high))
    words = {"helps": "better", "hurts": "worse", "no evidence": "no evidence of a difference"}.get(mark or "", "")
    return f"{name}: {words}; {mean} points against {control}, 95 % interval {low} to {high}, paired over {over}."
