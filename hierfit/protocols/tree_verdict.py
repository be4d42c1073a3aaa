"""Says whether a tree helps: tables, a sentence for each other tree, and the same for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from hierfit.atomic import whole_file
from hierfit.protocols.tree_effect import Comparison
from hierfit.report.card import ResultCard
from hierfit.report.columns import Column, columns
from hierfit.report.group import Group, Row
from hierfit.report.sheet import READING_DIFFERENCES, sheets
from hierfit.report.statistics import Estimate, paired_difference, t_interval
from hierfit.report.summary import print_sheet

FILE = "verdict.json"
TABLE = "verdict.txt"
FORMAT = "hierfit.tree_verdict/1"

_READING = (
    "All figures are of leaves alone, read on the true tree. ± is the 95 % t-interval over seeds, each with a shuffle "
    "of its own; […] the 95 % bootstrap interval over test samples. The true tree helps or hurts where both exclude 0. "
    f"Of differences in the table: {READING_DIFFERENCES}"
)


@dataclass(frozen=True)
class Verdict:
    """An experiment on its true tree and on others.

    Attributes:
        cards: Result cards by tree and seed, ``true`` first; a tree may have none.
        compared: The true tree against each other one.
        left_out: Why a tree could not be tried.
    """

    cards: Mapping[str, Mapping[int, ResultCard]]
    compared: Mapping[str, Comparison]
    left_out: Mapping[str, str]

    @property
    def metric(self) -> str:
        """What the verdict goes by."""
        return "H" if "h" in self._first.metrics["true_tree"] else "leaf accuracy"

    @property
    def _first(self) -> ResultCard:
        return next(iter(self.cards["true"].values()))

    def print(self, console: Console) -> None:
        """Prints the figures of each tree, the differences, and a sentence for each comparison."""
        figures, differences = sheets(self._group())
        print_sheet(figures, console)
        print_sheet(replace(differences, title="True tree − other tree, paired over seeds"), console)
        for tree, reason in self.left_out.items():
            console.print(Text(f"Left out: {tree}: {reason}", "yellow"), soft_wrap=True)
        console.print()
        console.print(Text(_READING, "dim"))
        console.print()
        for tree, comparison in self.compared.items():
            console.print(Text(said(tree, comparison, self.metric), "bold"), soft_wrap=True)

    def write(self, folder: Path, table: str) -> None:
        """Writes ``verdict.json`` and, as it was printed, ``verdict.txt``."""
        content = json.dumps(self._content(), indent=1, ensure_ascii=False, allow_nan=False)
        for name, text in ((FILE, content + "\n"), (TABLE, table)):
            with whole_file(folder / name) as draft:
                draft.write_text(text, encoding="utf-8")

    def _group(self) -> Group:
        first = self._first
        names = ["leaf_accuracy", "mistake_severity", *(["h", "ausuc"] if self.metric == "H" else [])]
        found = columns(",".join(f"{name}@true_tree" for name in names), [first], first.levels)
        shown = tuple(replace(column, header=column.header.removesuffix(" true tree")) for column in found)
        return Group(
            data=str(first.data["card"]),
            shots=first.data["shots"],
            backbone=str(first.backbone["source"]),
            test_images=first.data["images"]["test"],
            columns=shown,
            rows=tuple(self._row(tree, shown) for tree, runs in self.cards.items() if runs),
            control="true tree",
        )

    def _row(self, tree: str, shown: tuple[Column, ...]) -> Row:
        runs, true = self.cards[tree], self.cards["true"]
        first = next(iter(runs.values()))
        values = [[value for card in runs.values() if (value := c.value(card)) is not None] for c in shown]
        return Row(
            name=f"{tree} tree",
            seeds=tuple(runs),
            selected_on=first.selected_on,
            tuned_on=first.tuned_on,
            values=tuple(t_interval(v) if v else None for v in values),
            differences=() if tree == "true" else tuple(_difference(c, true, runs) for c in shown),
        )

    def _content(self) -> dict[str, Any]:
        data = self._first.data
        return {
            "format": FORMAT,
            "experiment": self._first.experiment,
            "data": {key: data[key] for key in ("card", "shots", "protocol", "true_taxonomy_fingerprint")},
            "metric": self.metric,
            "verdicts": {tree: _facts(comparison) for tree, comparison in self.compared.items()},
            "figures": {
                tree: {str(seed): dict(card.metrics["true_tree"]) for seed, card in runs.items()}
                for tree, runs in self.cards.items()
                if runs
            },
            "left_out": dict(self.left_out),
        }


def said(tree: str, comparison: Comparison, metric: str) -> str:
    """The verdict against one tree, in a sentence."""
    if comparison.same:
        return f"no difference against {tree}: every test sample is given the same leaf, with every seed"
    spoken = {"helps": "the true tree helps", "hurts": "the true tree hurts"}.get(comparison.effect, comparison.effect)
    seeds, samples = comparison.over_seeds, comparison.over_samples
    spread = f" ± {100 * seeds.half_width:.2f}" if seeds.n > 1 else ""
    count = f"{seeds.n} seed{'s' if seeds.n > 1 else ''}"
    interval = f"[{_points(samples.low)}, {_points(samples.high)}] over {samples.n} test samples"
    return f"{spoken} against {tree}: {_points(seeds.mean)}{spread} points of {metric} ({count}; {interval})"


def _difference(column: Column, true: Mapping[int, ResultCard], other: Mapping[int, ResultCard]) -> Estimate | None:
    pairs = [(column.value(true[seed]), column.value(other[seed])) for seed in true if seed in other]
    both = [(a, b) for a, b in pairs if a is not None and b is not None]
    return paired_difference([a for a, _ in both], [b for _, b in both]) if both else None


def _facts(comparison: Comparison) -> dict[str, Any]:
    seeds, samples = comparison.over_seeds, comparison.over_samples
    return {
        "effect": comparison.effect,
        "difference": seeds.mean,
        "seeds": {"n": seeds.n, "half_width": seeds.half_width if seeds.n > 1 else None},
        "samples": {"n": samples.n, "low": samples.low, "high": samples.high},
    }


def _points(fraction: float) -> str:
    return f"{100 * fraction:+.2f}".replace("-", "−")
