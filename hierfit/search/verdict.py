"""Does the tree help? What the true tree changes against each other, paired over seeds and over test samples; and one
answer from that, printed and for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from hierfit.atomic import whole_file
from hierfit.errors import UserError
from hierfit.results.card import ResultCard
from hierfit.results.logits import LeafLogits
from hierfit.results.statistics import bootstrap, paired_difference, verdict
from hierfit.results.summary import table
from hierfit.results.table import NAME, Column, Estimate, Interval, Table
from hierfit.results.writers import as_markdown, markdown, print_tables
from hierfit.search.runner import RunCell, finished

VERDICT_FILE, PAGE = "verdict.json", "verdict.md"

_READING = (
    "All figures are of leaves alone, read on the true tree. ± is the 95 % t-interval over seeds, each with a shuffle "
    "of its own; […] the 95 % bootstrap interval over test samples. A difference is one where both exclude 0. A "
    "shuffled tree keeps labels and scoring; what the method shares along the tree is shared among strangers. The tree "
    "helps where it beats no tree and zero-shot, and the shuffled one falls short."
)
_POINTS = Column("", "%", signed=True)


@dataclass(frozen=True)
class Answers:
    """The leaf of the true tree that one run names for each test sample ``[n]``, and the right one.

    With classes held back it is named among those of the sample's own kind, and ``base`` says of which kind that is.
    """

    predicted: NDArray[np.int64]
    labels: NDArray[np.int64]
    base: NDArray[np.bool_] | None

    @classmethod
    def read(cls, folder: Path) -> Answers:
        """From a run's folder; raises `UserError` when it keeps no logits."""
        scores = LeafLogits.read(folder)
        if scores.seen.all():
            return cls(scores.predicted().numpy(), scores.labels.numpy(), None)
        base = scores.seen[scores.labels]
        predicted = scores.predicted(scores.seen).where(base, scores.predicted(~scores.seen))
        return cls(predicted.numpy(), scores.labels.numpy(), base.numpy())


@dataclass(frozen=True)
class Comparison:
    """True − other by one share of right answers (leaf accuracy, or H with classes held back): with its t-interval over
    seeds, with its bootstrap interval over test samples (the seeds taken as they are), and whether every sample was
    given the same leaf on both trees, with every seed."""

    over_seeds: Estimate
    over_samples: Interval
    same: bool

    @property
    def effect(self) -> Literal["helps", "no evidence", "hurts", "no difference"]:
        """Helps or hurts where both intervals say so: neither other seeds nor other samples would turn it round."""
        if self.same:
            return "no difference"
        found = verdict(self.over_seeds)
        return found if found == verdict(self.over_samples) else "no evidence"


def compare_trees(true: Mapping[int, Answers], other: Mapping[int, Answers]) -> Comparison:
    """Pairs the runs of both trees, given by seed.

    The seeds share their test samples, so a sample is drawn again with all its answers: pooling them as if they were
    new samples would make the interval √S too narrow.

    Raises:
        ValueError: They share no seed, or not their test samples.
    """
    pairs = [(run, other[seed]) for seed, run in true.items() if seed in other]
    first = pairs[0][0] if pairs else None
    if first is None or any(not np.array_equal(first.labels, run.labels) for pair in pairs for run in pair):
        raise ValueError("trees are compared on the same seeds and test samples")
    right = np.stack([run.predicted == run.labels for side in zip(*pairs, strict=True) for run in side])  # [2S, n]
    kinds = [first.base, ~first.base] if first.base is not None else [np.ones(len(first.labels), dtype=bool)]

    def halves(shares: Sequence[NDArray[np.float64]]) -> Sequence[NDArray[np.float64]]:
        """Of both trees' shares of right answers ``[…, 2S]``: on all classes those, else the harmonic mean of kinds."""
        product, total = np.prod(shares, axis=0), np.sum(shares, axis=0)
        scores = shares[0] if len(shares) == 1 else 2 * product / np.maximum(total, np.finfo(np.float64).tiny)
        return np.split(scores, 2, axis=-1)

    parts = [right[:, kind].T.astype(float) for kind in kinds]
    over_seeds = paired_difference(*(half.tolist() for half in halves([part.mean(axis=0) for part in parts])))
    ends = bootstrap(parts, lambda shares: np.subtract(*halves(shares)).mean(axis=1))
    same = all(np.array_equal(a.predicted, b.predicted) for a, b in pairs)
    return Comparison(over_seeds, Interval(over_seeds.mean, *ends, len(first.labels)), same)


class Conclusion(NamedTuple):
    """The verdict on a tree: what it comes to, the same in words with its figures, and whether the truncated tree
    differs from the flat one (empty where that was not asked)."""

    outcome: str  # helps, no evidence, hurts or no verdict
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
        text = "No difference: every test sample is given the same leaf on every tree."
        return Conclusion("no evidence", text, remark)
    spoken = {"flat": "no tree", "zero-shot": "zero-shot", "shuffled": "a shuffled tree"}
    if missing := [spoken[name] for name in ("flat", "zero-shot") if name not in compared]:
        text = f"No verdict: the true tree was not held against {' and '.join(missing)}."
        return Conclusion("no verdict", text, remark)
    asked = {name: compared[name] for name in spoken if name in compared}
    effects = [found.effect for found in asked.values()]
    over_seeds, over_samples = compared["flat"].over_seeds, compared["flat"].over_samples
    reasons = ""
    if "hurts" in effects[:2]:
        outcome, begin = "hurts", "The tree hurts"
    elif effects == ["helps"] * 3:
        outcome, begin = "helps", "The tree helps"
    else:
        outcome, begin = "no evidence", "No evidence that the tree helps"
        unsure = [spoken[name] for name, effect in zip(asked, effects, strict=True) if effect != "helps"]
        reasons = f" Not beyond chance: over {' and over '.join(unsure)}." if unsure else ""
        if not shares:
            reasons += " The method shares nothing along the tree: no shuffled one can show that it is this tree."
        elif "shuffled" not in asked:
            reasons += " No shuffled tree was tried."
        if over_seeds.n == 1:
            reasons = " One seed is no evidence."
    first, *others = (f"{_amount(found)}{{}} over {spoken[name]}" for name, found in asked.items())
    figures = ", ".join([first.format(f" points of {metric}"), *(figure.format("") for figure in others)])
    size = f"{over_seeds.n} seed{'s' if over_seeds.n > 1 else ''}, {over_samples.n} test samples"
    return Conclusion(outcome, f"{begin}: {figures} ({size}).{reasons}", remark)


def _on_truncated(found: Comparison, metric: str) -> str:
    if found.same:
        return "Truncated equals flat: every test sample is given the same leaf, with every seed."
    figure = f"runcated − flat: {_amount(found)} points of {metric}"
    differs = found.effect in ("helps", "hurts")
    return f"T{figure}." if differs else f"Truncated equals flat as far as can be told (t{figure})."


def _amount(found: Comparison) -> str:
    """``+2.12 ± 0.57``; of one seed without an interval."""
    mean = _POINTS.number(found.over_seeds.mean)
    return f"{mean} ± {100 * found.over_seeds.half_width:.2f}" if found.over_seeds.n > 1 else mean


@dataclass(frozen=True)
class TreeVerdict:
    """An experiment on its true tree, on others, and untrained: result cards by tree and seed (``true`` first; a tree
    may have none), the true tree against each other one, and why a tree could not be tried."""

    cards: Mapping[str, Mapping[int, ResultCard]]
    compared: Mapping[str, Comparison]
    left_out: Mapping[str, str]
    answer: Conclusion

    def print(self, console: Console) -> None:
        """Prints the figures of each tree, the differences, and the verdict last."""
        print_tables(self._tables(), console)
        console.print("", Text("\n".join(filter(None, [self.answer.remark, self.answer.sentence])), "bold"), sep="\n")

    def write(self, folder: Path) -> None:
        """Writes ``verdict.json`` and, as a page to read, ``verdict.md``."""
        content = json.dumps(self._content(), indent=1, ensure_ascii=False, allow_nan=False)
        remark = [markdown(self.answer.remark), ""] if self.answer.remark else []
        page = "\n".join([f"**{markdown(self.answer.sentence)}**", "", *remark, as_markdown(self._tables())])
        for name, text in ((VERDICT_FILE, content + "\n"), (PAGE, page)):
            with whole_file(folder / name) as draft:
                draft.write_text(text, encoding="utf-8")

    def _tables(self) -> list[Table]:
        metric = metric_of(self.cards)
        names = ["leaf_accuracy", "tree_distance", *(["h", "ausuc"] if metric == "H" else [])]
        cards = [replace(card, row=_titled(tree)) for tree, runs in self.cards.items() for card in runs.values()]
        made = table(cards, choice=",".join(f"{name}@true_tree" for name in names))
        columns = tuple(replace(c, header=c.header.removesuffix(" true tree")) for c in made.columns)
        first = next(iter(self.compared.values()))
        seeds = f"over {first.over_seeds.n} seed{'s' if first.over_seeds.n > 1 else ''}"
        over = (Column(seeds, "%", signed=True), Column(f"over {first.over_samples.n} test samples", "%", signed=True))
        effects = {"helps": "true tree better", "hurts": "true tree worse", "no difference": "the same answers"}
        rows = [
            (_titled(tree), found.over_seeds, found.over_samples, effects.get(found.effect, found.effect))
            for tree, found in self.compared.items()
        ]
        differences = Table.of(f"True tree − other, points of {metric}", (NAME, *over, ""), rows, _READING)
        notes = tuple(f"Left out: {tree}: {reason}" for tree, reason in self.left_out.items())
        return [replace(made, columns=columns, reading="", notes=()), replace(differences, notes=notes)]

    def _content(self) -> dict[str, Any]:
        first = next(iter(self.cards["true"].values()))
        compared = {}
        for tree, found in self.compared.items():
            seeds, samples = found.over_seeds, found.over_samples
            compared[tree] = {
                **{"effect": found.effect, "difference": seeds.mean},
                "seeds": {"n": seeds.n, "half_width": seeds.half_width if seeds.n > 1 else None},
                "samples": {"n": samples.n, "low": samples.low, "high": samples.high},
            }
        return {
            "format": "hierfit.tree_verdict/2",
            "experiment": first.experiment,
            "data": {key: first.data[key] for key in ("card", "shots", "protocol", "true_taxonomy_fingerprint")},
            "metric": metric_of(self.cards),
            **{"verdict": self.answer.outcome, "sentence": self.answer.sentence, "remark": self.answer.remark},
            "compared": compared,
            "figures": {
                tree: {str(seed): dict(card.metrics["true_tree"]) for seed, card in runs.items()}
                for tree, runs in self.cards.items()
                if runs
            },
            "left_out": dict(self.left_out),
        }


def metric_of(cards: Mapping[str, Mapping[int, ResultCard]]) -> str:
    """What trees are compared by: leaf accuracy, or H where classes were held back."""
    first = next(iter(cards["true"].values()))
    return "H" if "h" in first.metrics["true_tree"] else "leaf accuracy"


def _titled(tree: str) -> str:
    return {"flat": "no tree (flat)", "zero-shot": "zero-shot"}.get(tree, f"{tree} tree")


def judge(trees: Iterable[str], cells: Sequence[RunCell], shares: bool, left_out: Mapping[str, str]) -> TreeVerdict:
    """The verdict from the cells that have finished, of all that were to be tried."""
    if "true" in left_out:
        raise UserError(f"The experiment cannot be run on its true tree: {left_out['true']}")
    cards: dict[str, dict[int, ResultCard]] = {tree: {} for tree in trees}
    answers: dict[str, dict[int, Answers]] = {tree: {} for tree in cards}
    for cell in cells:
        if card := finished(cell):
            cards[cell.row][cell.seed], answers[cell.row][cell.seed] = card, Answers.read(cell.folder)
    true = answers["true"]
    compared = {tree: compare_trees(true, other) for tree, other in answers.items() if other and tree != "true"}
    if not compared.keys() - {"zero-shot"}:
        raise UserError("No other tree can be tried.", [f"{tree}: {fault}" for tree, fault in left_out.items()])
    truncated, flat = (answers.get(tree, {}) for tree in ("truncated", "flat"))
    pair = compare_trees(truncated, flat) if truncated.keys() & flat.keys() else None
    return TreeVerdict(cards, compared, left_out, conclude(compared, metric_of(cards), shares, pair))
