"""Metrics of a finished run again, from its test logits: new metrics and decoders need no new training."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console

from hierfit.decoding import DECODERS
from hierfit.errors import UserError, nearest
from hierfit.metrics import hierarchy_metrics, own_metrics
from hierfit.metrics.served import score
from hierfit.results.card import ResultCard
from hierfit.results.logits import TestLogits
from hierfit.results.runs import find_cards
from hierfit.results.table import Column, Table
from hierfit.results.writers import print_table

_TOLERANCE = 1e-6  # metrics are ratios of exact counts in float32
_FIGURE_COLUMNS = (Column("metric@decoder"), Column("card", "", 6), Column("now", "", 6), Column("", key="changed"))


@dataclass(frozen=True)
class Rescored:
    """A run with its figures computed again."""

    folder: Path
    card: ResultCard
    figures: Mapping[str, Mapping[str, float | None]]  # by decoder and metric; None where a metric is undefined
    changes: tuple[tuple[str, str], ...]  # ``(decoder, metric)`` whose figure the card does not have, or has otherwise
    belief: Mapping[str, Any]  # what the card would say of the belief, were it made now
    own: Mapping[str, Mapping[str, Any]]  # how tables show the metrics among them that hierfit does not bring

    def write(self) -> None:
        """Puts the figures into the run's card; figures that were not computed stay."""
        card = self.card
        metrics = {**card.metrics, **{d: {**card.metrics.get(d, {}), **new} for d, new in self.figures.items()}}
        own = {**card.own_metrics, **self.own}
        replace(card, metrics=metrics, belief=card.belief or self.belief, own_metrics=own).write(self.folder)


def print_rescored(
    runs: Sequence[Path], decoders: Sequence[str], metrics: Sequence[str], tree: Path | None, write: bool
) -> None:
    """Prints what the cards do not say, or every figure of the decoders and metrics that are named.

    Cards are written, if they are to be, once all runs have been scored.
    """
    console = Console()
    found = [rescored(card.parent, decoders, metrics, tree) for run in runs for card in find_cards(run)]
    for run in found:
        every = [(d, m) for d in run.figures for m in run.figures[d]]
        changed = f"{len(run.changes)} differ from the card" if run.changes else "as in the card"
        rows = [
            (f"{m}@{d}", run.card.metrics.get(d, {}).get(m), run.figures[d][m], "≠" if (d, m) in run.changes else "")
            for d, m in (every if decoders or metrics else run.changes)
        ]
        title = f"{run.card.row} · {run.folder}: {len(every)} figures, {changed}"
        if rows:
            print_table(Table.of(title, _FIGURE_COLUMNS, rows), console)
        else:
            console.print(title, markup=False, highlight=False, soft_wrap=True)
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
    before = saved.card.metrics
    # Inner nodes that were not trained are not read.
    raw = {name: DECODERS[name] for name in DECODERS if name == "rollup" or "per_level" in before}
    raw |= {name: DECODERS.find(name) for name in decoders if "." in name}
    names = [*raw, "belief", "bayes", "decoded"]
    own = own_metrics([name for name in metrics if "." in name])
    described = {metric.name: metric.description()._asdict() for metric in own}
    metrics = [*(name for name in metrics if "." not in name), *described]
    known = {*map(str, hierarchy_metrics(saved.taxonomy, own=own)), "hca", "mta", "ece", "haurc", *described}
    unknown = [f"there is no decoder {name!r}{nearest(name, names)}" for name in decoders if name not in names]
    unknown += [f"there is no metric {name!r}{nearest(name, known)}" for name in metrics if name not in known]
    if unknown:
        hint = f"Decoders: {', '.join(names)}. Metrics: {', '.join(sorted(known))}."
        raise UserError("These names are unknown.", unknown, hint)
    found, belief = score(saved.batches(), saved.taxonomy, saved.calibration, raw, own)
    figures: dict[str, dict[str, float | None]] = {}
    changes = []
    for decoder in decoders or names:
        figures[decoder] = {}
        for metric in (metric for metric in found[decoder] if not metrics or metric in metrics):
            value = found[decoder][metric]
            figures[decoder][metric] = now = value if math.isfinite(value) else None
            then = before.get(decoder, {}).get(metric, math.inf)
            if then != now and (then is None or now is None or abs(then - now) > _TOLERANCE):
                changes.append((decoder, metric))
    return Rescored(saved.folder, saved.card, figures, tuple(changes), belief, described)
