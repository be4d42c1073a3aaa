"""Does the tree help? One answer from what the true tree changes against each other; printed, and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from rich.console import Console
from rich.text import Text

from hierfit.atomic import whole_file
from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.results.summary import table
from hierfit.results.table import NAME, Table
from hierfit.results.writers import as_markdown, markdown, print_table
from hierfit.search.runner import Cell, finished
from hierfit.search.tree_effect import Answers, Comparison, compare_trees

Finding = Literal["helps", "no evidence", "hurts", "no verdict"]

SPOKEN = {
    "flat": "no tree",
    "zero-shot": "zero-shot",
    "shuffled": "a shuffled tree",
    "truncated": "a truncated tree",
    "induced": "an induced tree",
}
"""What the true tree is held against, as a sentence says it; the first two decide, the third must fall short."""

_DECIDE = ("flat", "zero-shot")


class Conclusion(NamedTuple):
    """The verdict on a tree: what it comes to, the same in words with its figures, and whether the truncated tree
    differs from the flat one (empty where that was not asked)."""

    outcome: Finding
    sentence: str
    remark: str = ""


def conclude(
    compared: Mapping[str, Comparison],
    metric: str,
    shares: bool = True,
    truncated_against_flat: Comparison | None = None,
) -> Conclusion:
    """The verdict.

    It is ``helps`` only where the true tree beats no tree and zero-shot, and a shuffled one falls short of it;
    ``hurts`` where it falls short of no tree or of zero-shot; ``no verdict`` where one of the two was not run.

    Args:
        compared: The true tree against others and against zero-shot, by name.
        metric: What is compared: ``H`` or ``leaf accuracy``.
        shares: Whether the method shares anything along the tree; else no shuffled tree can be tried.
        truncated_against_flat: Where both were tried.
    """
    remark = "" if truncated_against_flat is None else _on_truncated(truncated_against_flat, metric)
    if compared and all(found.same for found in compared.values()):
        return Conclusion(
            "no evidence", "No difference: every test sample is given the same leaf on every tree.", remark
        )
    if missing := [SPOKEN[name] for name in _DECIDE if name not in compared]:
        return Conclusion(
            "no verdict", f"No verdict: the true tree was not held against {' and '.join(missing)}.", remark
        )
    asked = {name: compared[name] for name in (*_DECIDE, "shuffled") if name in compared}
    effects = {name: found.effect for name, found in asked.items()}
    outcome: Finding = "no evidence"
    if "hurts" in (effects[name] for name in _DECIDE):
        outcome = "hurts"
    elif len(asked) == 3 and set(effects.values()) == {"helps"}:
        outcome = "helps"
    begin = {"helps": "The tree helps", "hurts": "The tree hurts"}.get(outcome, "No evidence that the tree helps")
    figures = [f"{_amount(found)} over {SPOKEN[name]}" for name, found in asked.items()]
    figures[0] = figures[0].replace(" over", f" points of {metric} over", 1)
    seeds, samples = compared["flat"].over_seeds.n, compared["flat"].over_samples.n
    over = f"{seeds} seed{'s' if seeds > 1 else ''}, {samples} test samples"
    reasons = ""
    if outcome == "no evidence" and seeds == 1:
        reasons = " One seed is no evidence."
    elif outcome == "no evidence":
        unsure = " and over ".join(SPOKEN[name] for name, effect in effects.items() if effect != "helps")
        reasons = f" Not beyond chance: over {unsure}." if unsure else ""
        if not shares:
            reasons += " The method shares nothing along the tree: no shuffled one can show that it is this tree."
        elif "shuffled" not in asked:
            reasons += " No shuffled tree was tried."
    return Conclusion(outcome, f"{begin}: {', '.join(figures)} ({over}).{reasons}", remark)


def _on_truncated(found: Comparison, metric: str) -> str:
    if found.same:
        return "Truncated equals flat: every test sample is given the same leaf, with every seed."
    figure = f"runcated − flat: {_amount(found)} points of {metric}"
    told = found.effect in ("helps", "hurts")
    return f"T{figure}." if told else f"Truncated equals flat as far as can be told (t{figure})."


def _amount(found: Comparison) -> str:
    """``+2.12 ± 0.57``; what is the same for sure has no interval."""
    mean = points(found.over_seeds.mean)
    return f"{mean} ± {100 * found.over_seeds.half_width:.2f}" if found.over_seeds.n > 1 else mean


def points(fraction: float) -> str:
    """``+2.12``, with a minus sign as wide as the plus."""
    return f"{100 * fraction:+.2f}".replace("-", "−")


VERDICT_FILE = "verdict.json"
PAGE = "verdict.md"
FORMAT = "hierfit.tree_verdict/2"

_READING = (
    "All figures are of leaves alone, read on the true tree. ± is the 95 % t-interval over seeds, each with a shuffle "
    "of its own; […] the 95 % bootstrap interval over test samples. A difference is one where both exclude 0. A "
    "shuffled tree keeps labels and scoring; what the method shares along the tree is shared among strangers. The tree "
    "helps where it beats no tree and zero-shot, and the shuffled one falls short."
)
_NAMES = {"flat": "no tree (flat)", "zero-shot": "zero-shot"}
_EFFECTS = {"helps": "true tree better", "hurts": "true tree worse", "no difference": "the same answers"}


@dataclass(frozen=True)
class TreeVerdict:
    """An experiment on its true tree, on others, and untrained: result cards by tree and seed (``true`` first; a tree
    may have none), the true tree against each other one, and why a tree could not be tried."""

    cards: Mapping[str, Mapping[int, ResultCard]]
    compared: Mapping[str, Comparison]
    left_out: Mapping[str, str]
    answer: Conclusion

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
        for name, text in ((VERDICT_FILE, content + "\n"), (PAGE, self.as_markdown())):
            with whole_file(folder / name) as draft:
                draft.write_text(text, encoding="utf-8")

    def as_markdown(self) -> str:
        lines = [f"**{markdown(self.answer.sentence)}**", ""]
        lines += [markdown(self.answer.remark), ""] if self.answer.remark else []
        lines.append(as_markdown(self._tables()))
        lines += [line for reason in self._left_out() for line in (f"> {markdown(reason)}", "")]
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
    effect = _EFFECTS.get(found.effect, found.effect)
    return f"{points(seeds.mean)}{width}", f"[{points(samples.low)}, {points(samples.high)}]", effect


def _facts(comparison: Comparison) -> dict[str, Any]:
    seeds, samples = comparison.over_seeds, comparison.over_samples
    return {
        "effect": comparison.effect,
        "difference": seeds.mean,
        "seeds": {"n": seeds.n, "half_width": seeds.half_width if seeds.n > 1 else None},
        "samples": {"n": samples.n, "low": samples.low, "high": samples.high},
    }


def judge(trees: Iterable[str], cells: Sequence[Cell], shares: bool, left_out: Mapping[str, str]) -> TreeVerdict:
    """The verdict from the cells that have finished, of all that were to be tried."""
    if "true" in left_out:
        raise UserError(f"The experiment cannot be run on its true tree: {left_out['true']}")
    done = {tree: {c.seed: c for c in cells if c.row == tree and finished(c)} for tree in trees}
    answers = {tree: {seed: Answers.read(cell.folder) for seed, cell in own.items()} for tree, own in done.items()}
    true = answers["true"]
    compared = {tree: compare_trees(true, other) for tree, other in answers.items() if other and tree != "true"}
    if not compared.keys() - {"zero-shot"}:
        raise UserError("No other tree can be tried.", [f"{tree}: {fault}" for tree, fault in left_out.items()])
    cards = {tree: {seed: ResultCard.read(cell.folder) for seed, cell in own.items()} for tree, own in done.items()}
    metric = metric_of(next(iter(cards["true"].values())))
    truncated, flat = (answers.get(tree, {}) for tree in ("truncated", "flat"))
    pair = compare_trees(truncated, flat) if truncated.keys() & flat.keys() else None
    return TreeVerdict(cards, compared, left_out, conclude(compared, metric, shares, pair))
