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
from hierfit.results.columns import nearest
from hierfit.results.kept import KeptLogits
from hierfit.results.marks import verdicts
from hierfit.results.sheet import HELPS, HURTS, Sheet, mark
from hierfit.results.statistics import Interval, McNemar, Verdict, mcnemar, paired_bootstrap
from hierfit.results.summary import print_sheet
from hierfit.taxonomy import Taxonomy

_READING = (
    "%, A − B with its 95 % bootstrap interval over test samples; only A, only B: samples that one alone gets right; "
    f"p: exact McNemar test. {HELPS} helps, {HURTS} hurts: p, corrected for all lines here (Holm), is 5 % or less, and "
    "the difference 0.2 points or more. One pair of runs says nothing of other seeds: see results."
)


@dataclass(frozen=True)
class Comparison:
    """One metric of two runs over the same samples.

    Attributes:
        metric: ``leaf accuracy`` or ``FPA``.
        decoder: Name of the decoder of both; ``best leaf`` of leaf accuracy.
        a: Share right by the first run.
        b: Share right by the second.
        difference: a − b with its 95 % bootstrap interval over samples.
        test: McNemar's, of the samples on which the two disagree.
        verdict: What it says of the first run, corrected over all metrics and decoders that were asked for (Holm).
    """

    metric: str
    decoder: str
    a: float
    b: float
    difference: Interval
    test: McNemar
    verdict: Verdict = "no evidence"


def compare(a: KeptLogits, b: KeptLogits, decoders: Sequence[str] = ()) -> list[Comparison]:
    """Pairs two runs over test samples: accuracy of the best leaf, and FPA under each decoder.

    Raises:
        UserError: The runs were not tested on the same samples, labels and tree; a decoder is unknown, or reads scores
            of inner nodes that one of the runs has not trained.
    """
    unknown = [f"there is no decoder {d!r}{nearest(d, DECODERS)}" for d in decoders if d not in DECODERS]
    if unknown:
        raise UserError("These names are unknown.", unknown, f"Decoders: {', '.join(DECODERS)}.")
    _check_same_samples(a, b)
    untrained = {d: run.card.row for run in (a, b) for d in DECODERS if d not in run.card.metrics}
    if problems := [f"{d}: {untrained[d]} has trained leaves alone" for d in decoders if d in untrained]:
        raise UserError("Scores that nobody has trained are not compared.", problems)
    best = [leaf_right(run.predicted(DECODERS["rollup"]), a.paths, a.taxonomy) for run in (a, b)]
    found = [_comparison("leaf accuracy", "best leaf", best, leaf_labelled(a.paths, a.taxonomy))]
    for decoder in decoders or [d for d in DECODERS if d not in untrained]:
        paths = [full_path_right(run.predicted(DECODERS[decoder]), a.paths, a.taxonomy) for run in (a, b)]
        found.append(_comparison("FPA", decoder, paths, labelled(a.paths)))
    said = verdicts([(c.difference.mean, c.test.p, True) for c in found])
    return [replace(c, verdict=verdict) for c, verdict in zip(found, said, strict=True)]


def leaf_labelled(target: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[n] bool: the label of ``target`` [n, L] reaches a leaf; leaf accuracy counts these samples."""
    return labelled(target) & (taxonomy.num_children[target.amax(dim=1)] == 0)


def leaf_right(predicted: Tensor, target: Tensor, taxonomy: Taxonomy) -> Tensor:
    """[n] bool: the leaf is right, read at the level of the true one; False where the label reaches no leaf."""
    leaf = target.amax(dim=1)
    at_its_level = predicted.gather(1, taxonomy.level[leaf].unsqueeze(1)).squeeze(1)
    return leaf_labelled(target, taxonomy) & (at_its_level == leaf)


def print_comparison(a: Path, b: Path, decoders: Sequence[str] = (), console: Console | None = None) -> None:
    """Prints what the first run changes against the second, sample by sample, and a one-line verdict.

    Args:
        a: Folder of a finished run.
        b: Folder of the run it is held against.
        decoders: Only these; all if empty.
        console: Where to print.
    """
    console = console or Console()
    first, second = KeptLogits.read(a), KeptLogits.read(b)
    found = compare(first, second, decoders)
    names = [f"{run.card.row} (seed {run.card.seed})" for run in (first, second)]
    console.print()
    console.print(Text(f"A  {names[0]}\nB  {names[1]}"))
    for metric in dict.fromkeys(c.metric for c in found):
        of_it = [c for c in found if c.metric == metric]
        title = f"{metric} · {first.card.data.get('card')} · {of_it[0].difference.n} test samples"
        rows = tuple(map(_cells, of_it))
        print_sheet(Sheet(title, ("", "A", "B", "A − B", "only A", "only B", "p"), rows), console)
    console.print()
    console.print(Text(_READING, "dim"))
    # The last decoder is the one that reads all levels together, or the last one asked for.
    last = (found[0], found[-1])
    said = "; ".join(f"{_called(c)}: {c.verdict} ({_signed(c.difference.mean)} points)" for c in last)
    console.print(Text(f"{names[0]} against {names[1]}: {said}.", "bold"))


def _cells(c: Comparison) -> tuple[str, ...]:
    interval = f"{_signed(c.difference.mean)} [{_signed(c.difference.low)}, {_signed(c.difference.high)}]"
    p = "<0.001" if c.test.p < 0.001 else f"{c.test.p:.3f}"
    shares = (f"{100 * c.a:.2f}", f"{100 * c.b:.2f}")
    return _spoken(c.decoder), *shares, interval + mark(c.verdict), str(c.test.only_a), str(c.test.only_b), p


def _comparison(metric: str, decoder: str, right: Sequence[Tensor], counted: Tensor) -> Comparison:
    if not counted.any():
        raise UserError(f"No test sample has a label that {metric} could count.")
    a, b = (r[counted].numpy() for r in right)
    return Comparison(metric, decoder, float(a.mean()), float(b.mean()), paired_bootstrap(a, b), mcnemar(a, b))


def _check_same_samples(a: KeptLogits, b: KeptLogits) -> None:
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


def _signed(fraction: float) -> str:
    return f"{100 * fraction:+.1f}".replace("-", "−")


def _called(c: Comparison) -> str:
    return c.metric if c.metric == "leaf accuracy" else f"{c.metric} {_spoken(c.decoder)}"


def _spoken(decoder: str) -> str:
    return decoder.replace("_", " ")
