"""Metrics of a finished run again, from its test logits: new metrics and decoders need no new training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from hierfit.decoding import DECODERS
from hierfit.errors import UserError
from hierfit.metrics import hierarchy_metrics
from hierfit.metrics.served import score
from hierfit.results.card import ResultCard
from hierfit.results.collect import find_cards
from hierfit.results.columns import nearest
from hierfit.results.kept import KeptLogits

Figures = Mapping[str, Mapping[str, float | None]]

# Metrics are ratios of exact counts in float32.
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class Rescored:
    """A run with its figures computed again.

    Attributes:
        folder: The run's.
        card: As it lies there.
        figures: By decoder and metric; None where a metric is undefined.
        changes: ``(decoder, metric)`` whose figure the card does not have, or has otherwise.
        belief: What the card would say of the belief, were it made now.
    """

    folder: Path
    card: ResultCard
    figures: Figures
    changes: tuple[tuple[str, str], ...]
    belief: Mapping[str, Any]

    def write(self) -> None:
        """Puts the figures into the run's card; figures that were not computed stay."""
        metrics = {**self.card.metrics}
        for decoder, figures in self.figures.items():
            metrics[decoder] = {**metrics.get(decoder, {}), **figures}
        replace(self.card, metrics=metrics, belief=self.card.belief or self.belief).write(self.folder)


def rescore(
    folder: Path, decoders: Sequence[str] = (), metrics: Sequence[str] = (), tree: Path | None = None
) -> Rescored:
    """Computes the metrics of one run again and compares them with its card.

    Args:
        folder: A run's, or a control's inside it.
        decoders: Names in `hierfit.decoding.DECODERS`, ``belief``, ``bayes`` or ``decoded``; all if empty. Of a run
            that trained leaves alone only those that its card has.
        metrics: Names of `hierfit.metrics.hierarchy_metrics`; all if empty.
        tree: CSV of the tree, for runs that did not keep theirs.

    Raises:
        UserError: A name is unknown, or the run cannot be read; see `KeptLogits.read`.
    """
    kept = KeptLogits.read(folder, tree)
    card, names = kept.card, _scorable(kept.card)
    known = {*map(str, hierarchy_metrics(kept.taxonomy)), "hca", "mta", "ece", "haurc"}
    unknown = [f"there is no decoder {name!r}{nearest(name, names)}" for name in decoders if name not in names]
    unknown += [f"there is no metric {name!r}{nearest(name, known)}" for name in metrics if name not in known]
    if unknown:
        hint = f"Decoders: {', '.join(names)}. Metrics: {', '.join(sorted(known))}."
        raise UserError("These names are unknown.", unknown, hint)
    raw = {name: DECODERS[name] for name in names if name in DECODERS}
    found, belief = score(kept.batches(), kept.taxonomy, kept.calibration, raw)
    figures = {
        name: {k: _defined(v) for k, v in found[name].items() if not metrics or k in metrics}
        for name in decoders or names
    }
    changes = [(d, m) for d in figures for m in figures[d] if not _agrees(card, d, m, figures[d][m])]
    return Rescored(kept.folder, card, figures, tuple(changes), belief)


def _scorable(card: ResultCard) -> list[str]:
    """Decoders whose figures mean something: inner nodes that were not trained are not read."""
    raw = list(DECODERS) if "per_level" in card.metrics else ["rollup"]
    return [*raw, "belief", "bayes", "decoded"]


def print_rescored(
    runs: Sequence[Path],
    decoders: Sequence[str] = (),
    metrics: Sequence[str] = (),
    tree: Path | None = None,
    write: bool = False,
    console: Console | None = None,
) -> None:
    """Scores runs and their controls again and prints what their cards do not say.

    Args:
        runs: Run folders.
        decoders: Only these; all if empty.
        metrics: Only these; all if empty.
        tree: CSV of the tree, for runs that did not keep theirs.
        write: Put the figures into the cards, once all runs have been scored.
        console: Where to print.
    """
    console = console or Console()
    found = [rescore(card.parent, decoders, metrics, tree) for run in runs for card in find_cards(run)]
    for run in found:
        count = sum(map(len, run.figures.values()))
        changed = f"{len(run.changes)} differ from the card" if run.changes else "as in the card"
        console.print(Text(f"{run.card.row} · {run.folder}: {count} figures, {changed}"), soft_wrap=True)
        shown = [(d, m) for d in run.figures for m in run.figures[d]] if decoders or metrics else run.changes
        if shown:
            console.print(_table(run, shown))
    if write:
        for run in found:
            run.write()
        console.print(f"Written to {len(found)} result card{'s' if len(found) > 1 else ''}.")
    elif any(run.changes for run in found):
        console.print("Nothing is written; --write puts the figures into the cards.")


def _table(run: Rescored, shown: Sequence[tuple[str, str]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("metric@decoder", overflow="fold")
    table.add_column("card", justify="right")
    table.add_column("now", justify="right")
    for decoder, metric in shown:
        before, now = run.card.metrics.get(decoder, {}).get(metric), run.figures[decoder][metric]
        style = "yellow" if (decoder, metric) in run.changes else ""
        table.add_row(f"{metric}@{decoder}", _figure(before), Text(_figure(now), style))
    return table


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.6f}"


def _defined(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _agrees(card: ResultCard, decoder: str, metric: str, value: float | None) -> bool:
    figures = card.metrics.get(decoder, {})
    if metric not in figures:
        return False
    before = figures[metric]
    return before == value if before is None or value is None else abs(before - value) <= _TOLERANCE
