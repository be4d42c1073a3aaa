"""What was run, what came of it, and what it took: headline figures, a verdict in words, the tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hierfit.errors import UserError
from hierfit.metrics.functional import full_path_right, labelled
from hierfit.report.blocks import Block, Findings, Sheet, Tile, Tiles, Words, meaning
from hierfit.report.evidence import Evidence
from hierfit.results.card import ResultCard
from hierfit.results.columns import accuracy_of
from hierfit.results.compare import leaf_labelled, leaf_right
from hierfit.results.statistics import Estimate, Interval, Verdict, mcnemar, paired_bootstrap, verdicts
from hierfit.results.summary import table as summary_table
from hierfit.results.summary import tables
from hierfit.results.table import Cell, Column, Table

_HEADLINES = 4
_SIGNED = Column("", "%", signed=True)
_DECODERS = {
    "per_level": "per-level argmax",
    "rollup": "leaf roll-up",
    "top_down": "top-down",
    "best_path": "best path",
    "belief": "most probable node of each level",
    "bayes": "least expected distance",
}

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
    number, _, width = cell.text(column).partition(" ±")
    seeds = cell.value.n if isinstance(cell.value, Estimate) else 1
    interval = f"± {width} over {seeds} seeds" if seeds > 1 else "one seed: no interval"
    against = ""
    if cell.difference is not None and control:
        difference = Cell(cell.difference, mark=cell.mark).text(replace(column, signed=True))
        against = f"{difference} against {control}"
    return Tile(column.header, number + (" %" if column.unit == "%" else ""), interval, against, meaning(column))


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


def decoders(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of every report; the rows are the focus and its control."""
    focus = evidence.focus.card
    lead = "One set of scores, read in several ways."
    own, decoded = (focus.metrics.get(name, {}).get("fpa") for name in ("per_level", "decoded"))
    if own is not None and decoded is not None:
        lead += (
            f" Each level on its own gets {100 * own:.1f} % of full paths right (seed {focus.seed}), the decoder that "
            f"val chose {100 * decoded:.1f} %. What decoding gains, no training has to."
        )
    rows = dict.fromkeys([focus.row, *([evidence.control] if evidence.control else [])])
    cards = {row: [card for card in evidence.of_table if card.row == row] for row in rows}
    return lead, [_decoder_sheet(found, row) for row, found in cards.items() if found]


def _decoder_sheet(cards: Sequence[ResultCard], row: str) -> Sheet:
    """Accuracy of each level, FPA and TICE under each decoder, with intervals over the seeds of a row."""
    metrics = [*map(accuracy_of, cards[0].levels), "fpa", "tice"]
    rows, columns = [], [Column(row)]
    for decoder, name in _DECODERS.items():
        if all(decoder in card.metrics for card in cards):
            made = summary_table(cards, choice=",".join(f"{metric}@{decoder}" for metric in metrics))
            rows.append([name, *made.rows[0][2:-2]])
            suffix = f" {decoder.replace('_', ' ')}"
            columns[1:] = [replace(c, header=c.header.removesuffix(suffix)) for c in made.columns[2:-2]]
    seeds = ", ".join(str(seed) for seed in sorted(card.seed for card in cards))
    seeds = f"seed{'s' if len(cards) > 1 else ''} {seeds}"
    title = f"{row}, {seeds}; accuracy a level, FPA and TICE in %, mean ± 95 % t-interval"
    reading = "Only per-level argmax can leave the tree, so only its TICE says anything of the scores."
    slug = "".join(sign if sign.isalnum() else "_" for sign in row)
    return Sheet(f"decoders_{slug}", Table.of(title, columns, rows, reading))


def cost(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of every report."""
    cards = evidence.of_table
    devices = ", ".join(dict.fromkeys(str(card.cost.get("device", "?")) for card in cards))
    table = replace(
        tables(cards, choice="cost")[0],
        title="Parameters that are trained, their share of all in %, seconds of training and peak memory of the "
        f"process, mean ± 95 % t-interval over seeds, on {devices}",
        reading="Times of runs that shared the machine are not to be compared.",
    )
    return "What it took, and all that is needed to make it again.", (Sheet("cost", table), _facts(evidence))


def _facts(evidence: Evidence) -> Sheet:
    card = evidence.focus.card
    data, backbone = card.data, card.backbone
    rows = {
        "row": f"{card.row} ({card.method}), experiment {card.experiment}, seed {card.seed}",
        "run folder": str(evidence.focus.folder),
        "data": f"{data.get('card')}, version {data.get('card_version')}, {data.get('card_fingerprint')}",
        "protocol": str(data.get("protocol", "all classes")),
        "images": _pairs(data.get("images")),
        "draw": _pairs(data.get("draw")),
        "tree": f"{data.get('tree', 'true')}, {data.get('taxonomy_fingerprint')}",
        "backbone": f"{backbone.get('source')}, {str(backbone.get('fingerprint'))[:16]}",
        "selected on": card.selected_on,
        "tuned on": card.tuned_on,
        "versions": _pairs(card.versions),
    }
    for key, value in (card.method_settings.get("init_args") or {}).items():
        rows[f"model.{key}"] = value if isinstance(value, str) else json.dumps(value)
    table = Table.of("Data, draws, versions and settings of this run", ("", ""), rows.items())
    return Sheet("origin", table, folded=True, brief=0)


def _pairs(found: Any) -> str:
    return ", ".join(f"{key} {value}" for key, value in (found or {}).items())
