"""What was run, what came of it, and what it took: headline figures, a verdict in words, the tables."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from hierfit.errors import UserError
from hierfit.metrics.functional import full_path_right, labelled
from hierfit.report.blocks import Block, Findings, Paragraph, Sheet, Tile, Tiles, meaning
from hierfit.report.evidence import Evidence
from hierfit.results.card import ResultCard
from hierfit.results.columns import accuracy_of, figure
from hierfit.results.compare import leaf_labelled, leaf_right, paired
from hierfit.results.summary import table as summary_table
from hierfit.results.summary import tables
from hierfit.results.table import Cell, Column, Estimate, Interval, Table, Verdict

_HEADLINES = 4
_SIGNED = Column("", "%", signed=True)
_VERDICTS = {"helps": "better", "hurts": "worse", "no evidence": "no evidence of a difference"}
_DECODERS = {
    "per_level": "per-level argmax",
    "rollup": "leaf roll-up",
    "top_down": "top-down",
    "best_path": "best path",
    "belief": "most probable node of each level",
    "bayes": "least expected distance",
}


def summary_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of every report."""
    table, name = evidence.table, evidence.focus.card.row
    row = table.row(name)
    cells = [(column, row[column.key]) for column in table.columns if column.is_figure]
    one_seed = len({card.seed for card in evidence.of_table if card.row == name}) == 1
    tiles = [_tile(column, cell, table.control) for column, cell in cells[:_HEADLINES] if cell.number is not None]
    blocks: list[Block] = [Paragraph(_what(evidence)), Tiles(tiles)]
    compared = any(cell.difference for _, cell in cells)
    if compared:
        found = list(_on_samples(evidence) if one_seed else _over_seeds(cells[:_HEADLINES], table.control))
        blocks += [Findings(found)] if found else []
    blocks += _sheets(table, "summary")
    blocks += [Paragraph(f"Note: {note}", is_note=True) for note in table.notes]
    marks = {cell.mark for _, cell in cells}
    if not compared:
        lead = f"What {name} reaches; no control stands beside it."
    elif one_seed:
        lead = f"What {name} reaches with one seed; what another draw would change is not known."
    elif "helps" in marks:
        rest = "worse in others" if "hurts" in marks else "worse in none"
        lead = f"{name} is better than {table.control} in some figures and {rest}."
    elif "hurts" in marks:
        lead = f"{name} is worse than {table.control} in some figures and better in none."
    else:
        lead = f"There is no evidence that {name} differs from {table.control}."
    return lead, blocks


def other_runs_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Tables of the runs that are not looked into: other data, shots or backbones."""
    found = [table for table in evidence.tables if table.title != evidence.table.title]
    if not found:
        raise UserError("all runs stand in the table of the summary.")
    lead = "Runs on other data, with other shots or backbones cannot stand in one table with the one looked into."
    return lead, [sheet for i, table in enumerate(found, 1) for sheet in _sheets(table, f"other_runs_{i}", folded=True)]


def _sheets(table: Table, name: str, folded: bool = False) -> Iterator[Sheet]:
    """Figures and differences; what selected and tuned is said in words. A terminal shows them in its own way."""
    origin = "; ".join("{}: {}, {}".format(*(row[i].value for i in (0, -2, -1))) for row in table.rows)
    reading = f"{table.reading} Checkpoints selected on, and hyper-parameters from: {origin}."
    figures, *differences = table.without("selected_on", "tuned_on").parts()
    yield Sheet(name, replace(figures, reading="" if differences else reading), folded, brief=0)
    for part in differences:
        title = f"{table.title}: difference to {table.control}, paired over seeds"
        yield Sheet(f"{name}_differences", replace(part, title=title, reading=reading), folded, brief=0)


def _what(evidence: Evidence) -> str:
    card, data = evidence.focus.card, evidence.focus.card.data
    levels = ", ".join(f"{name} {count}" for name, count in (data.get("levels") or {}).items())
    drawn = data.get("drawn") or data.get("shots")
    shots = "all training images" if drawn is None else f"{drawn} training images a leaf"
    trained, share = card.parameters.get("trainable"), figure(card, "share")
    size = f" with {trained:,} trained parameters" if trained else " without training"
    size += f" ({100 * share:.2f} % of the model)" if share else ""
    protocol = str(data.get("protocol", "all classes"))
    held = "" if protocol == "all classes" else f"Protocol: {protocol}. "
    return (
        f"{card.row} gives every image a path in a tree of classes ({levels}). It is {card.method} on "
        f"{card.backbone.get('source')}{size}, learnt from {shots} and judged on "
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


def _over_seeds(cells: Sequence[tuple[Column, Cell]], control: str | None) -> Iterator[str]:
    """A sentence for each headline figure that can be held against the control's."""
    for column, cell in cells:
        if cell.difference is not None and column.unit == "%":
            yield _verdict_line(column.header, cell.difference, cell.mark, control, f"{cell.difference.n} seeds")


def _on_samples(evidence: Evidence) -> Iterator[str]:
    """With one seed: focus and control on the same test images."""
    if evidence.alike is None:
        return
    ours, theirs = evidence.focus.reading, evidence.alike.reading
    tree, target = ours.taxonomy, ours.target
    leaves = leaf_right(ours.best_leaf, target, tree), leaf_right(theirs.best_leaf, target, tree)
    paths = full_path_right(ours.decoded, target, tree), full_path_right(theirs.decoded, target, tree)
    questions = [
        ("leaf acc", "", leaves, leaf_labelled(target, tree)),
        ("FPA decoded", "", paths, labelled(target)),
    ]
    for found in paired([question for question in questions if question[3].any()]):
        p = f"= {found.test.p:.3f}" if found.test.p >= 0.001 else "< 0.001"
        over = f"{found.difference.n} test images (McNemar p {p})"
        yield _verdict_line(found.metric, found.difference, found.verdict, evidence.control, over)


def _verdict_line(
    name: str, difference: Estimate | Interval, mark: Verdict | None, control: str | None, over: str
) -> str:
    mean, low, high = (_SIGNED.number(value) for value in (difference.mean, difference.low, difference.high))
    words = _VERDICTS.get(mark or "", "")
    return f"{name}: {words}; {mean} points against {control}, 95 % interval {low} to {high}, paired over {over}."


def decoder_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of every report; the rows are the focus and its control."""
    focus, lead = evidence.focus.card, "One set of scores, read in several ways."
    own, decoded = figure(focus, "fpa@per_level"), figure(focus, "fpa@decoded")
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
    several, seeds = len(cards) > 1, ", ".join(map(str, sorted(card.seed for card in cards)))
    title = f"{row}, seed{'s' * several} {seeds}; accuracy a level, FPA and TICE in %"
    title += ", mean ± 95 % t-interval" * several
    reading = "Only per-level argmax can leave the tree, so only its TICE says anything of the scores."
    slug = "".join(sign if sign.isalnum() else "_" for sign in row)
    return Sheet(f"decoders_{slug}", Table.of(title, columns, rows, reading))


def cost_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of every report."""
    cards, card = evidence.of_table, evidence.focus.card
    devices = ", ".join(dict.fromkeys(str(card.cost.get("device", "?")) for card in cards))
    table = replace(
        tables(cards, choice="cost")[0],
        title="Parameters that are trained, their share of all in %, seconds of training and peak memory of the "
        f"process, mean ± 95 % t-interval over seeds, on {devices}",
        reading="Times of runs that shared the machine are not to be compared.",
    )

    def pairs(found: Any) -> str:
        return ", ".join(f"{key} {value}" for key, value in (found or {}).items())

    data, backbone = card.data, card.backbone
    origin = {
        "row": f"{card.row} ({card.method}), experiment {card.experiment}, seed {card.seed}",
        "run folder": str(evidence.focus.folder),
        "data": f"{data.get('card')}, version {data.get('card_version')}, {data.get('card_fingerprint')}",
        "protocol": str(data.get("protocol", "all classes")),
        "images": pairs(data.get("images")),
        "draw": pairs(data.get("draw")),
        "tree": f"{data.get('tree', 'true')}, {data.get('taxonomy_fingerprint')}",
        "backbone": f"{backbone.get('source')}, {str(backbone.get('fingerprint'))[:16]}",
        "selected on": card.selected_on,
        "tuned on": card.tuned_on,
        "versions": pairs(card.versions),
    }
    for key, value in (card.method_settings.get("init_args") or {}).items():
        origin[f"model.{key}"] = value if isinstance(value, str) else json.dumps(value)
    facts = Table.of("Data, draws, versions and settings of this run", ("", ""), origin.items())
    lead = "What it took, and all that is needed to make it again."
    return lead, (Sheet("cost", table), Sheet("origin", facts, folded=True, brief=0))
