"""Two finished runs on the same test samples: which is right where the other is wrong, and can that be chance?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from rich.console import Console
from rich.text import Text
from torch import Tensor

from hierfit.decoding import DECODERS
from hierfit.errors import UserError
from hierfit.metrics.functional import full_path_right, labelled
from hierfit.results.logits import TestLogits
from hierfit.results.statistics import McNemar, mcnemar, paired_bootstrap, verdicts
from hierfit.results.table import HELPS, HURTS, NAME, Cell, Column, Interval, Table, Verdict
from hierfit.results.writers import print_tables
from hierfit.taxonomy import Taxonomy

_READING = (
    "%, A − B with its 95 % bootstrap interval over test samples; only A, only B: samples that one alone gets right; "
    f"p: exact McNemar test. {HELPS} helps, {HURTS} hurts: p, corrected for all lines here (Holm), is 5 % or less, and "
    "the difference 0.2 points or more. One pair of runs says nothing of other seeds: see results."
)
_DIFFERENCE = Column("A − B", "%", 1, signed=True)
_COUNTS = (Column("only A", "count"), Column("only B", "count"))
_COLUMNS = (NAME, Column("A", "%"), Column("B", "%"), _DIFFERENCE, *_COUNTS, Column("p", ""))


@dataclass(frozen=True)
class PairedRuns:
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
    verdict: Verdict


def paired(
    questions: Sequence[tuple[str, str, tuple[Tensor, Tensor], Tensor]],
) -> list[PairedRuns]:
    """Of each metric and decoder, from which samples a and b get right ``[n]`` and which count ``[n]`` bool.

    Raises:
        UserError: No sample counts for a metric.
    """
    found = []
    for metric, decoder, right, counted in questions:
        if not counted.any():
            raise UserError(f"No test sample has a label that {metric} could count.")
        a, b = (each[counted].numpy() for each in right)
        found.append((metric, decoder, float(a.mean()), float(b.mean()), paired_bootstrap(a, b), mcnemar(a, b)))
    marks = verdicts([(difference.mean, test.p, True) for *_, difference, test in found])
    return [PairedRuns(*each, verdict) for each, verdict in zip(found, marks, strict=True)]


def comparisons(a: TestLogits, b: TestLogits, decoders: Sequence[str] = ()) -> list[PairedRuns]:
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
    target, tree = a.paths, a.taxonomy

    def predicted(decoder: str) -> tuple[Tensor, Tensor]:
        return a.predicted(DECODERS.find(decoder)), b.predicted(DECODERS.find(decoder))

    x, y = (leaf_right(paths, target, tree) for paths in predicted("rollup"))
    questions = [("leaf accuracy", "best leaf", (x, y), leaf_labelled(target, tree))]
    for decoder in decoders or [d for d in DECODERS if d not in untrained]:
        x, y = (full_path_right(paths, target, tree) for paths in predicted(decoder))
        questions.append(("FPA", decoder, (x, y), labelled(target)))
    return paired(questions)


def print_comparison(a: Path, b: Path, decoders: Sequence[str] = ()) -> None:
    """Prints what the first run changes against the second, and a verdict in one line."""
    runs = TestLogits.read(a), TestLogits.read(b)
    found, console = comparisons(*runs, decoders), Console()
    names = [f"{run.card.row} (seed {run.card.seed})" for run in runs]
    console.print(Text(f"\nA  {names[0]}\nB  {names[1]}"))
    tables = []
    for metric in dict.fromkeys(c.metric for c in found):
        of_it = [c for c in found if c.metric == metric]
        rows = []
        for c in of_it:
            p = "<0.001" if c.test.p < 0.001 else f"{c.test.p:.3f}"
            difference = Cell(c.difference, mark=c.verdict)
            rows.append((_spaced(c.decoder), c.a, c.b, difference, c.test.only_a, c.test.only_b, p))
        title = f"{metric} · {runs[0].card.data.get('card')} · {of_it[0].difference.n} test samples"
        tables.append(Table.of(title, _COLUMNS, rows, _READING))
    print_tables(tables, console)
    # The last decoder is the one that reads all levels together, or the last one asked for.
    answers = [
        f"{c.metric}{'' if c is found[0] else f' {_spaced(c.decoder)}'}: {c.verdict} "
        f"({_DIFFERENCE.number(c.difference.mean)} points)"
        for c in (found[0], found[-1])
    ]
    console.print(Text(f"{names[0]} against {names[1]}: {'; '.join(answers)}.", "bold"))


def leaf_labelled(target: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[n] bool: the label of ``target`` [n, L] reaches a leaf; leaf accuracy counts these samples."""
    return labelled(target) & (taxonomy.num_children[target.amax(dim=1)] == 0)


def leaf_right(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[n] bool: the leaf is right, read at the level of the true one; False where the label reaches no leaf."""
    leaf = target.amax(dim=1)
    at_its_level = predicted.gather(1, taxonomy.level[leaf].unsqueeze(1)).squeeze(1)
    return leaf_labelled(target, taxonomy) & (at_its_level == leaf)


def _check_same_samples(a: TestLogits, b: TestLogits) -> None:
    def draw(run: TestLogits) -> object:
        return (run.card.data.get("draw") or {}).get("test")

    rows, fingerprints = (len(a.indices), len(b.indices)), (a.taxonomy.fingerprint, b.taxonomy.fingerprint)
    cards = a.card.data.get("card"), b.card.data.get("card")
    same_rows = a.indices.equal(b.indices)
    faults = {
        f"the trees differ: {fingerprints[0]} and {fingerprints[1]}": a.taxonomy != b.taxonomy,
        f"the data sets differ: {cards[0]} and {cards[1]}": cards[0] != cards[1],
        f"the test samples differ: draw {draw(a)} and {draw(b)}": draw(a) != draw(b),
        f"the rows of the test split differ: {rows[0]} and {rows[1]} samples": not same_rows,
        "the labels differ": same_rows and not torch.equal(a.paths, b.paths),
    }
    if problems := [fault for fault, is_so in faults.items() if is_so]:
        raise UserError(f"{a.folder} and {b.folder} cannot be compared sample by sample.", problems)


def _spaced(decoder: str) -> str:
    return decoder.replace("_", " ")
