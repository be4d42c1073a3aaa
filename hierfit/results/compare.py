"""Two finished runs on the same test samples: which is right where the other is wrong, and can that be chance?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

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

_HOW_TO_READ = (
    "%, A − B with its 95 % bootstrap interval over test samples; only A, only B: samples that one alone gets right; "
    f"p: exact McNemar test. {HELPS} helps, {HURTS} hurts: p, corrected for all lines here (Holm), is 5 % or less, and "
    "the difference 0.2 points or more. One pair of runs says nothing of other seeds: see results."
)
_DIFFERENCE = Column("A − B", "%", 1, signed=True)
_COLUMNS = (
    *(NAME, Column("A", "%"), Column("B", "%"), _DIFFERENCE, Column("only A", "count"), Column("only B", "count")),
    *(Column("p", ""), Column("samples", "count")),
)


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

    def __str__(self) -> str:
        return f"{self.metric} {self.decoder.replace('_', ' ')}".rstrip()


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
    named = {name: DECODERS.find(name) for name in decoders}
    _check_same_samples(a, b)
    untrained = {name: run.card.row for run in (a, b) for name in DECODERS if name not in run.card.metrics}
    if problems := [f"{name}: {untrained[name]} has trained leaves alone" for name in named if name in untrained]:
        raise UserError("Scores that nobody has trained are not compared.", problems)
    named = named or {name: DECODERS[name] for name in DECODERS if name not in untrained}
    target, tree = a.paths, a.taxonomy
    best = [run.predicted(DECODERS["rollup"]) for run in (a, b)]
    x, y = (leaf_right(paths, target, tree) for paths in best)
    questions = [("leaf accuracy", "", (x, y), leaf_labelled(target, tree))]
    for name, decoder in named.items():
        x, y = (full_path_right(run.predicted(decoder), target, tree) for run in (a, b))
        questions.append(("FPA", name, (x, y), labelled(target)))
    return paired(questions)


def print_comparison(a: Path, b: Path, decoders: Sequence[str] = ()) -> None:
    """Prints what the first run changes against the second, and a verdict in one line."""
    runs = TestLogits.read(a), TestLogits.read(b)
    found, console = comparisons(*runs, decoders), Console()
    names = [f"{run.card.row} (seed {run.card.seed})" for run in runs]
    console.print(Text(f"\nA  {names[0]}\nB  {names[1]}"))
    rows = []
    for c in found:
        p = Cell("<0.001") if c.test.p < 0.001 else c.test.p
        difference = Cell(c.difference, mark=c.verdict)
        rows.append((str(c), c.a, c.b, difference, c.test.only_a, c.test.only_b, p, c.difference.n))
    table = Table.of(str(runs[0].card.data.get("card")), _COLUMNS, rows, _HOW_TO_READ)
    if len({c.difference.n for c in found}) == 1:  # some lines count fewer where labels end above the leaves
        table = replace(table.without("samples"), title=f"{table.title} · {found[0].difference.n} test images")
    print_tables([table], console)
    # The last decoder is the one that reads all levels together, or the last one asked for.
    points = [(c, _DIFFERENCE.number(c.difference.mean)) for c in (found[0], found[-1])]
    answers = "; ".join(f"{c}: {c.verdict} ({difference} points)" for c, difference in points)
    console.print(Text(f"{names[0]} against {names[1]}: {answers}.", "bold"))


def leaf_labelled(target: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[n] bool: the label of ``target`` [n, L] reaches a leaf; leaf accuracy counts these samples."""
    return labelled(target) & (taxonomy.num_children[target.amax(dim=1)] == 0)


def leaf_right(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[n] bool: the leaf is right, read at the level of the true one; False where the label reaches no leaf."""
    leaf = target.amax(dim=1)
    at_its_level = predicted.gather(1, taxonomy.level[leaf].unsqueeze(1)).squeeze(1)
    return leaf_labelled(target, taxonomy) & (at_its_level == leaf)


def _check_same_samples(a: TestLogits, b: TestLogits) -> None:
    facts = []
    for run in (a, b):
        draw = (run.card.data.get("draw") or {}).get("test")
        facts.append((run.taxonomy.fingerprint, run.card.data.get("card"), draw, f"{len(run.indices)} samples"))
    kinds = ("trees", "data sets", "test draws", "test splits")
    differing = zip(kinds, *facts, strict=True)
    problems = [f"the {kind} differ: {ours} and {theirs}" for kind, ours, theirs in differing if ours != theirs]
    if not problems and not a.indices.equal(b.indices):
        problems.append("the rows of the test split differ")
    if not problems and not a.paths.equal(b.paths):
        problems.append("the labels differ")
    if problems:
        raise UserError(f"{a.folder} and {b.folder} cannot be compared sample by sample.", problems)
