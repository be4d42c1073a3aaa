"""Says whether a tree helps: the figures of each tree, the differences, one verdict; and the same for programs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from hierfit.atomic import whole_file
from hierfit.results.card import ResultCard
from hierfit.results.summary import table
from hierfit.results.table import NAME, Table
from hierfit.results.writers import as_markdown, markdown, print_table
from hierfit.search.tree_answer import Answer, points
from hierfit.search.tree_effect import Comparison

FILE = "verdict.json"
PAGE = "verdict.md"
FORMAT = "hierfit.tree_verdict/2"

_READING = (
    "All figures are of leaves alone, read on the true tree. ± is the 95 % t-interval over seeds, each with a shuffle "
    "of its own; […] the 95 % bootstrap interval over test samples. A difference is one where both exclude 0. A "
    "shuffled tree keeps labels and scoring; what the method shares along the tree is shared among strangers. The tree "
    "helps where it beats no tree and zero-shot, and the shuffled one falls short."
)
_NAMES = {"flat": "no tree (flat)", "zero-shot": "zero-shot"}
_SAID = {"helps": "true tree better", "hurts": "true tree worse", "no difference": "the same answers"}


@dataclass(frozen=True)
class Verdict:
    """An experiment on its true tree, on others, and untrained.

    Attributes:
        cards: Result cards by tree and seed, ``true`` first; a tree may have none.
        compared: The true tree against each other one, and against zero-shot.
        left_out: Why a tree could not be tried.
        answer: The verdict.
    """

    cards: Mapping[str, Mapping[int, ResultCard]]
    compared: Mapping[str, Comparison]
    left_out: Mapping[str, str]
    answer: Answer

    @property
    def metric(self) -> str:
        """What the verdict goes by."""
        return metric_of(self._first)

    @property
    def _first(self) -> ResultCard:
        return next(iter(self.cards["true"].values()))

    def print(self, console: Console) -> None:
        """Prints the figures of each tree, the differences, and the verdict last."""
        for made in self._tables():
            print_table(made, console)
        for line in self._left_out():
            console.print(Text(line, "yellow"), soft_wrap=True)
        console.print()
        console.print(Text(_READING, "dim"))
        console.print()
        if self.answer.remark:
            console.print(Text(self.answer.remark))
        console.print(Text(self.answer.sentence, "bold"))

    def write(self, folder: Path) -> None:
        """Writes ``verdict.json`` and, as a page to read, ``verdict.md``."""
        content = json.dumps(self._content(), indent=1, ensure_ascii=False, allow_nan=False)
        for name, text in ((FILE, content + "\n"), (PAGE, self.as_markdown())):
            with whole_file(folder / name) as draft:
                draft.write_text(text, encoding="utf-8")

    def as_markdown(self) -> str:
        """The verdict, the tables below it, and how to read them."""
        lines = [f"**{markdown(self.answer.sentence)}**", ""]
        lines += [markdown(self.answer.remark), ""] if self.answer.remark else []
        lines.append(as_markdown(self._tables()))
        lines += [line for said in self._left_out() for line in (f"> {markdown(said)}", "")]
        return "\n".join([*lines, markdown(_READING), ""])

    def _left_out(self) -> list[str]:
        return [f"Left out: {tree}: {reason}" for tree, reason in self.left_out.items()]

    def _tables(self) -> list[Table]:
        names = ["leaf_accuracy", "tree_distance", *(["h", "ausuc"] if self.metric == "H" else [])]
        cards = [replace(card, row=_named(tree)) for tree, runs in self.cards.items() for card in runs.values()]
        made = table(cards, choice=",".join(f"{name}@true_tree" for name in names))
        columns = tuple(replace(c, header=c.header.removesuffix(" true tree")) for c in made.columns)
        figures = replace(made, columns=columns, reading="", notes=())
        if not self.compared:
            return [figures]
        first = next(iter(self.compared.values()))
        seeds = f"over {first.over_seeds.n} seed{'s' if first.over_seeds.n > 1 else ''}"
        over = (seeds, f"over {first.over_samples.n} test samples", "")
        rows = ((_named(tree), *_cells(found)) for tree, found in self.compared.items())
        return [figures, Table.of(f"True tree − other, points of {self.metric}", (NAME, *over), rows)]

    def _content(self) -> dict[str, Any]:
        data = self._first.data
        return {
            "format": FORMAT,
            "experiment": self._first.experiment,
            "data": {key: data[key] for key in ("card", "shots", "protocol", "true_taxonomy_fingerprint")},
            "metric": self.metric,
            "verdict": self.answer.outcome,
            "sentence": self.answer.sentence,
            "remark": self.answer.remark,
            "compared": {tree: _facts(comparison) for tree, comparison in self.compared.items()},
            "figures": {
                tree: {str(seed): dict(card.metrics["true_tree"]) for seed, card in runs.items()}
                for tree, runs in self.cards.items()
                if runs
            },
            "left_out": dict(self.left_out),
        }


def metric_of(card: ResultCard) -> str:
    """What trees are compared by: leaf accuracy, or H where classes were held back."""
    return "H" if "h" in card.metrics["true_tree"] else "leaf accuracy"


def _named(tree: str) -> str:
    return _NAMES.get(tree, f"{tree} tree")


def _cells(found: Comparison) -> tuple[str, str, str]:
    seeds, samples = found.over_seeds, found.over_samples
    width = f" ±{100 * seeds.half_width:.2f}" if seeds.n > 1 else " ±–"
    said = _SAID.get(found.effect, found.effect)
    return f"{points(seeds.mean)}{width}", f"[{points(samples.low)}, {points(samples.high)}]", said


def _facts(comparison: Comparison) -> dict[str, Any]:
    seeds, samples = comparison.over_seeds, comparison.over_samples
    return {
        "effect": comparison.effect,
        "difference": seeds.mean,
        "seeds": {"n": seeds.n, "half_width": seeds.half_width if seeds.n > 1 else None},
        "samples": {"n": samples.n, "low": samples.low, "high": samples.high},
    }
