"""Two finished runs on the same test samples: which is right where the other is wrong, and can that be chance?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text
from torch import Tensor

from hierfit.decoding import DECODERS
from hierfit.errors import UserError
from hierfit.metrics.functional import full_path_right, labelled
from hierfit.results.logits import TestLogits
from hierfit.results.statistics import Interval, McNemar, Verdict, mcnemar, paired_bootstrap, verdicts
from hierfit.results.table import HELPS, HURTS, NAME, Cell, Column, Table
from hierfit.results.writers import print_tables
from hierfit.taxonomy import Taxonomy

_READING = (
    "%, A − B with its 95 % bootstrap interval over test samples; only A, only B: samples that one alone gets right; "
    f"p: exact McNemar test. {HELPS} helps, {HURTS} hurts: p, corrected for all lines here (Holm), is 5 % or less, and "
    "the difference 0.2 points or more. One pair of runs says nothing of other seeds: see results."
)
_DIFFERENCE = Column("A − B", "%", 1, signed=True)
_COLUMNS = (NAME, Column("A", "%"), Column("B", "%"), _DIFFERENCE, *(Column(f"only {x}", "count") for x in "AB"))


@dataclass(frozen=True)
class Comparison:
    """One metric of two runs over the same samples: shares that a and b get right, and what their difference says.

    The difference a − b has its 95 % bootstrap interval over samples; the verdict on a is corrected over all metrics
    and decoders that were asked for (Holm).
    """

    metric: str
    decoder: str
    a: float
    b: float
    difference: Interval
    test: McNemar
    verdict: Verdict = "no evidence"

    @property
    def cells(self) -> list[object]:
        """Its row in a table."""
        p = "<0.001" if self.test.p < 0.001 else f"{self.test.p:.3f}"
        shares = (self.a, self.b, Cell(self.difference, mark=self.verdict))
        return [_spaced(self.decoder), *shares, self.test.only_a, self.test.only_b, p]


def print_comparison(a: Path, b: Path, decoders: Sequence[str] = ()) -> None:
    """Prints what the first run changes against the second, and a verdict in one line."""
    runs = TestLogits.read(a), TestLogits.read(b)
    found = comparisons(*runs, decoders)
    names = [f"{run.card.row} (seed {run.card.seed})" for run in runs]
    console = Console()
    console.print(Text(f"\nA  {names[0]}\nB  {names[1]}"))
    tables = []
    for metric in dict.fromkeys(c.metric for c in found):
        of_it = [c for c in found if c.metric == metric]
        title = f"{metric} · {runs[0].card.data.get('card')} · {of_it[0].difference.n} test samples"
        columns = (*_COLUMNS, Column("p", ""))
        tables.append(Table.of(title, columns, (c.cells for c in of_it), _READING))
    print_tables(tables, console)
    # The last decoder is the one that reads all levels together, or the last one asked for.
    answers = [
        f"{c.metric}{'' if c is found[0] else f' {_spaced(c.decoder)}'}: {c.verdict} "
        f"({_DIFFERENCE.number(c.difference.mean)} points)"
        for c in (found[0], found[-1])
    ]
    console.print(Text(f"{names[0]} against {names[1]}: {'; '.join(answers)}.", "bold"))


def comparisons(a: TestLogits, b: TestLogits, decoders: Sequence[str] = ()) -> list[Comparison]:
    """Pairs two runs over test samples: accuracy of the best leaf, and FPA under each decoder.

    Raises:
        UserError: The runs were not tested on the same samples, labels and tree; a decoder is unknown, or reads scores
            of inner nodes that one of the runs has not trained.
    """
    problems = []
    for name in decoders:
        try:
            DECODERS.find(name)
        except UserError as error:
            problems.append(error.summary)
    if problems:
        raise UserError("These names are unknown.", problems, f"Decoders: {', '.join(DECODERS)}.")
    _check_same_samples(a, b)
    untrained = {d: run.card.row for run in (a, b) for d in DECODERS if d not in run.card.metrics}
    if problems := [f"{d}: {untrained[d]} has trained leaves alone" for d in decoders if d in untrained]:
        raise UserError("Scores that nobody has trained are not compared.", problems)
    best = [leaf_right(run.predicted(DECODERS["rollup"]), a.paths, a.taxonomy) for run in (a, b)]
    found = [_comparison("leaf accuracy", "best leaf", best, leaf_labelled(a.paths, a.taxonomy))]
    for decoder in decoders or [d for d in DECODERS if d not in untrained]:
        paths = [full_path_right(run.predicted(DECODERS.find(decoder)), a.paths, a.taxonomy) for run in (a, b)]
        found.append(_comparison("FPA", decoder, paths, labelled(a.paths)))
    marks = verdicts([(c.difference.mean, c.test.p, True) for c in found])
    return [replace(c, verdict=verdict) for c, verdict in zip(found, marks, strict=True)]


def leaf_labelled(target: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[n] bool: the label of ``target`` [n, L] reaches a leaf; leaf accuracy counts these samples."""
    return labelled(target) & (taxonomy.num_children[target.amax(dim=1)] == 0)


def leaf_right(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[n] bool: the leaf is right, read at the level of the true one; False where the label reaches no leaf."""
    leaf = target.amax(dim=1)
    at_its_level = predicted.gather(1, taxonomy.level[leaf].unsqueeze(1)).squeeze(1)
    return leaf_labelled(target, taxonomy) & (at_its_level == leaf)


def _comparison(metric: str, decoder: str, right: Sequence[Tensor], counted: Tensor) -> Comparison:
    if not counted.any():
        raise UserError(f"No test sample has a label that {metric} could count.")
    a, b = (r[counted].numpy() for r in right)
    return Comparison(metric, decoder, float(a.mean()), float(b.mean()), paired_bootstrap(a, b), mcnemar(a, b))


def _check_same_samples(a: TestLogits, b: TestLogits) -> None:
    problems = []
    if a.taxonomy != b.taxonomy:
        problems.append(f"the trees differ: {a.taxonomy.fingerprint} and {b.taxonomy.fingerprint}")
    names = [run.card.data.get("card") for run in (a, b)]
    if names[0] != names[1]:
        problems.append(f"the data sets differ: {names[0]} and {names[1]}")
    draws = [(run.card.data.get("draw") or {}).get("test") for run in (a, b)]
    if draws[0] != draws[1]:
        problems.append(f"the test samples differ: draw {draws[0]} and {draws[1]}")
    if not torch.equal(a.indices, b.indices):
        problems.append(f"the rows of the test split differ: {len(a.indices)} and {len(b.indices)} samples")
    elif not torch.equal(a.paths, b.paths):
        problems.append("the labels differ")
    if problems:
        raise UserError(f"{a.folder} and {b.folder} cannot be compared sample by sample.", problems)


def _spaced(decoder: str) -> str:
    return decoder.replace("_", " ")
