"""Whether the model is right as often as it says: reliability of the probabilities that are served."""

from __future__ import annotations

from functools import partial

from hierfit.decoding.calibration import Reliability
from hierfit.metrics.served import served_reliability
from hierfit.report.analysis.reading import Reading
from hierfit.report.blocks import Block, Omitted, Picture, Section, Table
from hierfit.report.drawing.reliability import reliability_diagram
from hierfit.report.evidence import Evidence, Run

TITLE = "Reliability"


def section(evidence: Evidence) -> Section | Omitted:
    """Of runs that kept their test logits; the control stands beside."""
    control = [run for run in evidence.read(len(evidence.beside)) if run.card.row == evidence.control]
    shown = [evidence.focus, *control]
    found = [levels_of(run.reading) for run in shown]
    if not found[0]:
        return Omitted(TITLE, "no test image is labelled.")
    blocks: list[Block] = [
        _picture(run, levels, number) for number, (run, levels) in enumerate(zip(shown, found, strict=True))
    ]
    blocks.append(_table(shown, found))
    return Section("reliability", TITLE, _lead(found[0]), tuple(blocks))


def levels_of(reading: Reading) -> dict[str, Reliability]:
    """Each labelled level's: probability of the node that the belief's descent takes there, right or wrong."""
    levels = enumerate(reading.taxonomy.levels)
    found = {level: served_reliability(reading.served, reading.taxonomy, depth) for depth, level in levels}
    return {level: each for level, each in found.items() if each.count.sum()}


def _means(found: Reliability) -> tuple[float, float]:
    """Mean confidence and accuracy of all samples."""
    weight = found.count / found.count.sum()
    return tuple(float((weight * x.nan_to_num()).sum()) for x in (found.confidence, found.accuracy))  # type: ignore[return-value]


def _lead(levels: dict[str, Reliability]) -> str:
    level, worst = max(levels.items(), key=lambda item: item[1].ece)
    sure, right = _means(worst)
    kind = "over-confident" if sure > right else "under-confident"
    return (
        f"Worst at the level {level}: an expected calibration error (ECE) of {100 * worst.ece:.1f} %, {kind} on the "
        f"whole (mean confidence {100 * sure:.1f} %, accuracy {100 * right:.1f} %)."
    )


def _picture(run: Run, levels: dict[str, Reliability], number: int) -> Picture:
    spoken = "; ".join(f"{level} {100 * found.ece:.1f} %" for level, found in levels.items())
    return Picture(
        "reliability" if number == 0 else "reliability_control",
        f"{run.card.row}, seed {run.card.seed}: accuracy of the images in each of 15 bins of confidence, a colour a "
        "level, larger for more images; lines join bins of ten and more. Below the dashed line a level is surer than "
        "it is right.",
        f"Reliability diagram of {run.card.row}. ECE: {spoken}.",
        partial(reliability_diagram, levels, run.card.row),
    )


def _table(runs: list[Run], found: list[dict[str, Reliability]]) -> Table:
    rows = []
    for run, levels in zip(runs, found, strict=True):
        for level, each in levels.items():
            sure, right = _means(each)
            rows.append((run.card.row, level, f"{100 * sure:.2f}", f"{100 * right:.2f}", f"{100 * each.ece:.2f}"))
    return Table(
        "reliability",
        "Mean probability, accuracy and expected calibration error (15 bins of equal width), in %, of the node that is "
        "answered on each level: the probabilities that `hierfit predict` prints.",
        ("row", "level", "confidence", "accuracy", "ECE"),
        tuple(rows),
        labels=2,
        narrow=True,
    )
