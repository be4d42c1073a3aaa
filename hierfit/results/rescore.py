"""Metrics of a finished run again, from its test logits: new metrics and decoders need no new training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from hierfit.config.schema import nearest
from hierfit.decoding import DECODERS
from hierfit.errors import UserError
from hierfit.metrics import hierarchy_metrics, own_metrics
from hierfit.metrics.served import score
from hierfit.results.card import ResultCard
from hierfit.results.logits import TestLogits
from hierfit.results.runs import find_cards
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
        figures: By decoder and metric; None where a metric is undefined.
        changes: ``(decoder, metric)`` whose figure the card does not have, or has otherwise.
        belief: What the card would say of the belief, were it made now.
        own: How tables show the metrics among them that hierfit does not bring.
    """

    folder: Path
    card: ResultCard
    figures: Figures
    changes: tuple[tuple[str, str], ...]
    belief: Mapping[str, Any]
    own: Mapping[str, Mapping[str, Any]]

    def write(self) -> None:
        """Puts the figures into the run's card; figures that were not computed stay."""
        metrics = {**self.card.metrics}
        for decoder, figures in self.figures.items():
            metrics[decoder] = {**metrics.get(decoder, {}), **figures}
        own = {**self.card.own_metrics, **self.own}
        replace(self.card, metrics=metrics, belief=self.card.belief or self.belief, own_metrics=own).write(self.folder)

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


def print_rescored(
    runs: Sequence[Path], decoders: Sequence[str], metrics: Sequence[str], tree: Path | None, write: bool
) -> None:
    """Prints what the cards do not say, or every figure of the decoders and metrics that are named.

    Cards are written, if they are to be, once all runs have been scored.
    """
    console = Console()
    found = [rescored(card.parent, decoders, metrics, tree) for run in runs for card in find_cards(run)]
    for run in found:
        table = run.table(every=bool(decoders or metrics))
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
        decoders: Names in `hierfit.decoding.DECODERS`, ``belief``, ``bayes`` or ``decoded``; all if empty. Of a run
            that trained leaves alone only those that its card has. Or import paths of one's own.
        metrics: Names of `hierfit.metrics.hierarchy_metrics`; all if empty. Or import paths of one's own.
        tree: CSV of the tree, for runs that did not keep theirs.

    Raises:
        UserError: A name is unknown, or the run cannot be read; see `TestLogits.read`.
    """
    saved = TestLogits.read(folder, tree)
    card = saved.card
    # Inner nodes that were not trained are not read.
    raw = {name: DECODERS[name] for name in DECODERS if name == "rollup" or "per_level" in card.metrics}
    raw |= {name: DECODERS.find(name) for name in decoders if "." in name}
    names = [*raw, "belief", "bayes", "decoded"]
    own = own_metrics([name for name in metrics if "." in name])
    metrics = [name for name in metrics if "." not in name] + [metric.name for metric in own]
    known = {*map(str, hierarchy_metrics(saved.taxonomy, own=own)), "hca", "mta", "ece", "haurc"}
    known |= {metric.name for metric in own}
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
    before = {name: card.metrics.get(name, {}) for name in figures}
    changes = [
        (d, m)
        for d in figures
        for m, value in figures[d].items()
        if m not in before[d] or not _same(before[d][m], value)
    ]
    described = {metric.name: metric.description()._asdict() for metric in own}
    return Rescored(saved.folder, card, figures, tuple(changes), belief, described)


def _same(a: float | None, b: float | None) -> bool:
    return a == b if a is None or b is None else math.isclose(a, b, rel_tol=0, abs_tol=_TOLERANCE)
