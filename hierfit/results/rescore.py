"""Metrics of a finished run again, from its test logits: new metrics and decoders need no new training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any

from rich.console import Console
from rich.text import Text

from hierfit.config.command import Say
from hierfit.config.schema import nearest
from hierfit.decoding import DECODERS
from hierfit.errors import UserError
from hierfit.metrics import Own, hierarchy_metrics
from hierfit.metrics.served import score
from hierfit.results.card import ResultCard
from hierfit.results.collect import find_cards
from hierfit.results.logits import TestLogits
from hierfit.results.table import Column, Table
from hierfit.results.writers import print_table

Figures = Mapping[str, Mapping[str, float | None]]

# Metrics are ratios of exact counts in float32.
_TOLERANCE = 1e-6
_COLUMNS = (Column("metric@decoder"), *(Column(header, "", 6) for header in ("card", "now")), Column("", key="changed"))


@dataclass(frozen=True)
class Rescored:
    """A run with its figures computed again.

    Attributes:
        folder: The run's.
        card: As it lies there.
        figures: By decoder and metric; None where a metric is undefined.
        changes: ``(decoder, metric)`` whose figure the card does not have, or has otherwise.
        belief: What the card would say of the belief, were it made now.
        described: How tables show metrics that the user brought.
    """

    folder: Path
    card: ResultCard
    figures: Figures
    changes: tuple[tuple[str, str], ...]
    belief: Mapping[str, Any]
    described: Mapping[str, Sequence[Any]]

    def write(self) -> None:
        """Puts the figures into the run's card; figures that were not computed stay."""
        metrics = {**self.card.metrics}
        for decoder, figures in self.figures.items():
            metrics[decoder] = {**metrics.get(decoder, {}), **figures}
        described = {**self.card.described, **self.described}
        belief = self.card.belief or self.belief
        replace(self.card, metrics=metrics, belief=belief, described=described).write(self.folder)

    def table(self, every: bool) -> Table:
        """Every figure, or those that the card does not have so."""
        count = sum(map(len, self.figures.values()))
        changed = f"{len(self.changes)} differ from the card" if self.changes else "as in the card"
        shown = [(d, m) for d in self.figures for m in self.figures[d]] if every else self.changes
        rows = [
            (f"{m}@{d}", self.card.metrics.get(d, {}).get(m), self.figures[d][m], "≠" if (d, m) in self.changes else "")
            for d, m in shown
        ]
        return Table.of(f"{self.card.row} · {self.folder}: {count} figures, {changed}", _COLUMNS, rows)


def rescore(
    runs: Annotated[list[Path], Say("run folders (controls inside are found) or result.json", "RUN")],
    *,
    decoder: Annotated[Sequence[str], Say("only this one; repeatable", "NAME", repeat=True)] = (),
    metric: Annotated[Sequence[str], Say("only this one; repeatable", "NAME", repeat=True)] = (),
    taxonomy: Annotated[Path | None, Say("the tree as CSV, where a run did not keep it", "FILE")] = None,
    write: Annotated[bool, Say("put the figures into the result cards")] = False,
) -> None:
    """Compute metrics of finished runs again from their test logits, without training.

    Prints what the cards do not say, or every figure of the decoders and metrics that are named. Cards are written
    once all runs have been scored.
    """
    console = Console()
    found = [rescored(card.parent, decoder, metric, taxonomy) for run in runs for card in find_cards(run)]
    for run in found:
        table = run.table(every=bool(decoder or metric))
        if table.rows:
            print_table(table, console)
        else:
            console.print(Text(table.title), soft_wrap=True)
    if write:
        for run in found:
            run.write()
        console.print(f"Written to {len(found)} result card{'s' if len(found) > 1 else ''}.")
    elif any(run.changes for run in found):
        console.print("Nothing is written; --write puts the figures into the cards.")


def rescored(
    folder: Path, decoders: Sequence[str] = (), metrics: Sequence[str] = (), tree: Path | None = None
) -> Rescored:
    """Computes the metrics of one run again and compares them with its card.

    Args:
        folder: A run's, or a control's inside it.
        decoders: Names in `hierfit.decoding.DECODERS`, ``belief``, ``bayes`` or ``decoded``, import paths of one's own;
            all but those if empty. Of a run that trained leaves alone only those that its card has.
        metrics: Names of `hierfit.metrics.hierarchy_metrics`, import paths of one's own; all but those if empty.
        tree: CSV of the tree, for runs that did not keep theirs.

    Raises:
        UserError: A name is unknown, or the run cannot be read; see `TestLogits.read`.
    """
    saved = TestLogits.read(folder, tree)
    card = saved.card
    own = Own.of([name for name in metrics if "." in name], [name for name in decoders if "." in name])
    # Inner nodes that were not trained are not read.
    raw = {name: DECODERS[name] for name in DECODERS if name == "rollup" or "per_level" in card.metrics}
    names = [*raw, *own.decoders, "belief", "bayes", "decoded"]
    known = {*map(str, hierarchy_metrics(saved.taxonomy)), "hca", "mta", "ece", "haurc"}
    metrics = [*(name for name in metrics if "." not in name), *own.described]
    known |= own.described.keys()
    unknown = [f"there is no decoder {name!r}{nearest(name, names)}" for name in decoders if name not in names]
    unknown += [f"there is no metric {name!r}{nearest(name, known)}" for name in metrics if name not in known]
    if unknown:
        hint = f"Decoders: {', '.join(names)}. Metrics: {', '.join(sorted(known))}."
        raise UserError("These names are unknown.", unknown, hint)
    found, belief = score(saved.batches(), saved.taxonomy, saved.calibration, raw, own)
    figures = {
        name: {k: v if math.isfinite(v) else None for k, v in found[name].items() if not metrics or k in metrics}
        for name in decoders or names
    }
    changes = [(d, m) for d in figures for m in figures[d] if not _agrees(card, d, m, figures[d][m])]
    return Rescored(saved.folder, card, figures, tuple(changes), belief, own.described)


def _agrees(card: ResultCard, decoder: str, metric: str, value: float | None) -> bool:
    figures = card.metrics.get(decoder, {})
    if metric not in figures:
        return False
    before = figures[metric]
    return before == value if before is None or value is None else abs(before - value) <= _TOLERANCE
