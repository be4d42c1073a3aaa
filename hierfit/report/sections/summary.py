"""What was run, and what came of it: headline figures, a verdict in words, the table."""

from __future__ import annotations

from hierfit.errors import UserError
from hierfit.metrics.functional import full_path_right, labelled
from hierfit.report.blocks import Block, Findings, Section, Table, Tile, Tiles, Words
from hierfit.report.evidence import Evidence
from hierfit.results.compare import leaf_labelled, leaf_right
from hierfit.results.group import Group, Row
from hierfit.results.marks import verdicts
from hierfit.results.sheet import (
    DASH,
    READING,
    READING_DIFFERENCES,
    Sheet,
    difference_cell,
    figure_cell,
    sheets,
)
from hierfit.results.statistics import Estimate, Interval, Verdict, mcnemar, paired_bootstrap

_HEADLINES = 4


def section(evidence: Evidence) -> Section:
    """Of every report."""
    group, card = evidence.group, evidence.focus.card
    row = next(row for row in group.rows if row.name == card.row)
    blocks: list[Block] = [Words(_what(evidence))]
    blocks.append(Tiles(tuple(_tiles(row, group))))
    said = _findings(row, group, evidence)
    blocks += [Findings(tuple(said))] if said else []
    blocks += tables(group, "summary")
    blocks += [Words(f"Note: {note}", "note") for note in group.notes]
    return Section("summary", "Summary", _lead(row, group), tuple(blocks))


def _what(evidence: Evidence) -> str:
    card, group = evidence.focus.card, evidence.group
    levels = ", ".join(f"{name} {count}" for name, count in (card.data.get("levels") or {}).items())
    shots = "all training images" if group.shots is None else f"{group.shots} training images a leaf"
    trained, total = card.parameters.get("trainable"), card.parameters.get("total")
    size = f" with {trained:,} trained parameters" if trained else " without training"
    share = f" ({trained / total:.2%} of the model)" if trained and total else ""
    protocol = str(card.data.get("protocol", "all classes"))
    held = "" if protocol == "all classes" else f"Protocol: {protocol}. "
    return (
        f"{card.row} gives every image a path in a tree of classes ({levels}). It is {card.method} on {group.backbone}"
        f"{size}{share}, learnt from {shots} and judged on {group.test_images} test images of {group.data}. "
        f"{held}Checkpoint selected on: {card.selected_on}; the test split has no say."
    )


def _tiles(row: Row, group: Group) -> list[Tile]:
    differences = row.differences or (None,) * len(row.values)
    said = group.verdicts[row.name] or (None,) * len(row.values)
    tiles = []
    shown = list(zip(group.columns, row.values, differences, said, strict=True))[:_HEADLINES]
    for column, value, difference, verdict in shown:
        if value is None:
            continue
        number, _, width = figure_cell(value, column, len(row.seeds)).partition(" ±")
        unit = " %" if column.unit == "%" else ""
        interval = f"± {width} over {value.n} seeds" if value.n > 1 else "one seed: no interval"
        against = ""
        if difference is not None and group.control:
            cell = difference_cell(difference, column, difference.n, verdict)
            against = f"{cell.removesuffix(f' ±{DASH}')} against {group.control}"
        tiles.append(Tile(column.header, number + unit, interval, against))
    return tiles


def _lead(row: Row, group: Group) -> str:
    said = set(group.verdicts[row.name])
    if not row.differences:
        return f"What {row.name} reaches; no control stands beside it."
    if len(row.seeds) == 1:
        return f"What {row.name} reaches with one seed; what another draw would change is not known."
    if "helps" in said and "hurts" in said:
        return f"{row.name} is better than {group.control} in some figures and worse in others."
    if "helps" in said:
        return f"{row.name} is better than {group.control} in some figures and worse in none."
    if "hurts" in said:
        return f"{row.name} is worse than {group.control} in some figures and better in none."
    return f"There is no evidence that {row.name} differs from {group.control}."


def _findings(row: Row, group: Group, evidence: Evidence) -> list[str]:
    """A sentence for each headline figure that can be held against the control's."""
    if not row.differences:
        return []
    if len(row.seeds) == 1:
        return _on_samples(evidence)
    compared = list(zip(group.columns, row.differences, group.verdicts[row.name], strict=True))[:_HEADLINES]
    return [
        _finding(column.header, difference, said, group.control, f"{difference.n} seeds")
        for column, difference, said in compared
        if difference is not None and column.unit == "%"
    ]


def _on_samples(evidence: Evidence) -> list[str]:
    """With one seed: focus and control on the same test images."""
    focus, control = evidence.focus, next((run for run in evidence.beside if run.card.row == evidence.control), None)
    try:
        ours, theirs = focus.reading, control.reading if control is not None else None
    except UserError:
        return []
    if theirs is None or ours.taxonomy != theirs.taxonomy or not ours.target.equal(theirs.target):
        return []
    tree, target = ours.taxonomy, ours.target
    found: list[tuple[str, Interval, float, str]] = []
    of_leaf, of_path = leaf_labelled(target, tree), labelled(target)
    right = {
        "leaf acc": (of_leaf, [leaf_right(reading.best_leaf, target, tree) for reading in (ours, theirs)]),
        "FPA decoded": (of_path, [full_path_right(reading.decoded, target, tree) for reading in (ours, theirs)]),
    }
    for name, (rows, both) in right.items():
        if not rows.any():
            continue
        a, b = (each[rows].numpy() for each in both)
        difference = paired_bootstrap(a, b)
        p = mcnemar(a, b).p
        over = f"{difference.n} test images (McNemar p {f'= {p:.3f}' if p >= 0.001 else '< 0.001'})"
        found.append((name, difference, p, over))
    said = verdicts([(difference.mean, p, True) for _, difference, p, _ in found])
    pairs = zip(found, said, strict=True)
    return [_finding(name, d, verdict, evidence.control, over) for (name, d, _, over), verdict in pairs]


def _finding(name: str, difference: Estimate | Interval, said: Verdict | None, control: str | None, over: str) -> str:
    mean, low, high = (signed(100 * value) for value in (difference.mean, difference.low, difference.high))
    words = {"helps": "better", "hurts": "worse", "no evidence": "no evidence of a difference"}.get(said or "", "")
    return f"{name}: {words}; {mean} points against {control}, 95 % interval {low} to {high}, paired over {over}."


def signed(value: float) -> str:
    """``+1.30`` or ``−0.20``, with a minus sign that is as wide as the plus."""
    return f"{value:+.2f}".replace("-", "−")


def tables(group: Group, name: str, folded: bool = False) -> list[Table]:
    """Figures and differences; what selected and tuned is said in words."""
    figures, *differences = sheets(group)
    origin = [f"{row.name}: {row.selected_on}, {row.tuned_on}" for row in group.rows]
    reading = f"{READING} {READING_DIFFERENCES}" if differences else READING
    reading = f"{reading} Checkpoints selected on, and hyper-parameters from: {'; '.join(origin)}."
    shown = [Sheet(figures.title, figures.header[:-2], tuple(cells[:-2] for cells in figures.rows)), *differences]
    # A terminal shows them in its own way.
    return [
        Table(
            name if i == 0 else f"{name}_differences",
            f"{sheet.title if i == 0 else f'{group.title}: difference to {group.control}, paired over seeds'}. "
            f"{reading if i == len(shown) - 1 else ''}".strip(),
            sheet.header,
            sheet.rows,
            folded=folded,
            brief=0,
        )
        for i, sheet in enumerate(shown)
    ]
