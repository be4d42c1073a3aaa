"""What `hierfit predict` serves: how deep an answer may go at which price, and whether its probabilities hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from hierfit.decoding.calibration import Reliability
from hierfit.errors import UserError
from hierfit.metrics.served import served_reliability
from hierfit.report.blocks import Block, Drawn, Picture, Sheet
from hierfit.report.evidence import Evidence, Run
from hierfit.report.style import COLOURS, MARKERS, MUTED, SMALL, furnish, new_axes
from hierfit.results.table import DASH, Column, Table

Beliefs = Mapping[str, Mapping[str, Any]]

_SHARES = {
    "error": "wrong",
    "coverage": "answered",
    "answered_error": "wrong of these",
    "depth": "depth",
    "information": "information",
}
_FIRM = 10  # samples from which on a bin's accuracy is worth a line


def depth(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs whose cards hold an operating curve; the control stands beside."""
    own = evidence.focus.card
    cards = [own, *(run.card for run in evidence.beside if run.card.row == evidence.control and run.card is not own)]
    cards = [card for card in cards if card.belief.get("curve")]
    if own not in cards:
        raise UserError("its card holds no operating curve; `hierfit rescore --write` makes one.")
    beliefs = {card.row: card.belief for card in cards}
    percent = Column("", "%")
    areas = "; ".join(
        f"{card.row} {DASH if area is None else percent.number(area)}"
        for card in cards
        for area in [card.metrics["belief"]["haurc"]]
    )
    picture = Picture(
        "operating_curve",
        "Wrong answers, silence counting as right, against the information that answers keep (1 for a leaf, 0 for "
        f"silence, by the number of leaves below), as the threshold falls. Area below (hAURC, lower is better): "
        f"{areas}.",
        f"Curves of error over information kept. hAURC: {areas}.",
        partial(operating_curves, beliefs),
    )
    table = Table.of(
        "`--max-error`: at most this share of all answers is to be wrong, for images like those of the validation "
        "split (split conformal)",
        ("row", "max error", Column("threshold", ""), *(Column(header, "%") for header in _SHARES.values())),
        [
            (row, alpha, found["threshold"], *(found.get(name) for name in _SHARES))
            for row, belief in beliefs.items()
            for alpha, found in belief["max_error"].items()
        ],
        f"Shares on test, in %. {DASH}: too few validation images.",
    )
    terms = {
        "max error": "what is asked of `hierfit predict --max-error`",
        "threshold": "an answer stops where the probability is no greater",
        "wrong": "of all images, those whose answer holds a wrong node",
        "answered": "of all images, those that get an answer at all",
        "wrong of these": "the same of those answered, which can be more",
        "depth": "levels answered, of the levels of the whole path",
        "information": "how far the leaves below an answer narrow all leaves down: all for a leaf, none for silence",
    }
    return _lead(own.belief), (picture, Sheet("max_error", table, narrow=True, terms=terms))


def _promised(belief: Mapping[str, Any]) -> list[tuple[str, Mapping[str, float]]]:
    return [(alpha, found) for alpha, found in belief["max_error"].items() if found["threshold"] is not None]


def _lead(belief: Mapping[str, Any]) -> str:
    text = f"Answered down to the leaf, {100 * belief['curve']['error'][0]:.1f} % of all images get a wrong answer."
    promised = _promised(belief)
    if not promised:
        return f"{text} Too few validation images to promise less."
    alpha, found = promised[-1]
    return (
        f"{text} `predict --max-error {alpha}` stops early enough for {100 * found['error']:.1f} %, and keeps "
        f"{100 * found['information']:.0f} % of the information."
    )


def operating_curves(beliefs: Beliefs) -> Drawn:
    """Error against information kept, a line a run, from silence at the left to whole paths at the right.

    What was promised is marked on the first one's.
    """
    figure, axes = new_axes(height=3.2)
    for i, (row, belief) in enumerate(beliefs.items()):
        x, y = ([100 * value for value in belief["curve"][name]] for name in ("information", "error"))
        axes.plot(x, y, color=COLOURS[i % len(COLOURS)], dashes=(4, 2) if i else (), linewidth=1.4, label=row)
    for i, (alpha, found) in enumerate(_promised(next(iter(beliefs.values())))):
        point = {"marker": MARKERS[i % len(MARKERS)], "color": COLOURS[0], "markersize": 6, "linestyle": ""}
        axes.plot([100 * found["information"]], [100 * found["error"]], label=f"max error {alpha}", **point)  # type: ignore[arg-type]
    axes.set_xlim(0, 101)
    axes.set_ylim(bottom=0)
    furnish(axes, x="information kept [%]", y="wrong answers [% of all images]", grid="both")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL)
    return figure, {}


def reliability(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs that saved their test logits; the control stands beside."""
    runs = [evidence.focus, *(run for run in evidence.read() if run.card.row == evidence.control)]
    found = [_levels(run) for run in runs]
    if not found[0]:
        raise UserError("no test image is labelled.")
    level, worst = max(found[0].items(), key=lambda item: item[1].ece)
    sure, right = _means(worst)
    lead = (
        f"Worst at the level {level}: an expected calibration error (ECE) of {100 * worst.ece:.1f} %, "
        f"{'over' if sure > right else 'under'}-confident on the whole (mean confidence {100 * sure:.1f} %, accuracy "
        f"{100 * right:.1f} %)."
    )
    names = ("reliability", "reliability_control")
    pictures = [_picture(*each) for each in zip(names, runs, found, strict=False)]
    table = Table.of(
        "Mean probability, accuracy and expected calibration error (15 bins of equal width), in %",
        ("row", "level", *(Column(header, "%") for header in ("confidence", "accuracy", "ECE"))),
        [
            (run.card.row, level, *_means(each), each.ece)
            for run, levels in zip(runs, found, strict=True)
            for level, each in levels.items()
        ],
        "Of the node that is answered on each level: the probabilities that `hierfit predict` prints.",
    )
    terms = {
        "confidence": "mean probability of the answered node",
        "accuracy": "share of images whose answered node is right",
        "ECE": "mean gap between the two over bins of confidence, each weighing as many images as it has; 0 is best",
    }
    return lead, [*pictures, Sheet("reliability", table, narrow=True, terms=terms)]


def _levels(run: Run) -> dict[str, Reliability]:
    """Each labelled level's: probability of the node that the belief's descent takes there, right or wrong."""
    tree = run.reading.taxonomy
    found = {level: served_reliability(run.reading.served, tree, depth) for depth, level in enumerate(tree.levels)}
    return {level: each for level, each in found.items() if each.count.sum()}


def _means(found: Reliability) -> tuple[float, float]:
    """Mean confidence and accuracy of all samples."""
    weight = found.count / found.count.sum()
    sure, right = (float((weight * x.nan_to_num()).sum()) for x in (found.confidence, found.accuracy))
    return sure, right


def _picture(name: str, run: Run, levels: Mapping[str, Reliability]) -> Picture:
    summary = "; ".join(f"{level} {100 * found.ece:.1f} %" for level, found in levels.items())
    return Picture(
        name,
        f"{run.card.row}, seed {run.card.seed}: accuracy of the images in each of 15 bins of confidence, a colour a "
        "level, larger for more images; lines join bins of ten and more. Below the dashed line a level is surer than "
        "it is right.",
        f"Reliability diagram of {run.card.row}. ECE: {summary}.",
        partial(reliability_diagram, levels, run.card.row),
    )


def reliability_diagram(levels: Mapping[str, Reliability], title: str) -> Drawn:
    """A point a bin and level, larger for more samples; a line through those of ten and more; the diagonal is perfect.

    Args:
        levels: Coarse to fine.
        title: Above it.
    """
    figure, axes = new_axes(height=4.3)
    axes.plot([0, 100], [0, 100], color=MUTED, dashes=(4, 3), linewidth=1, zorder=1)
    texts = {}
    for i, (level, found) in enumerate(levels.items()):
        filled = found.count > 0
        x, y = (100 * found.confidence[filled]).tolist(), (100 * found.accuracy[filled]).tolist()
        count = found.count[filled].tolist()
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        firm = [(a, b) for n, a, b in zip(count, x, y, strict=True) if n >= _FIRM]
        axes.plot([a for a, _ in firm], [b for _, b in firm], color=colour, linewidth=1.2, zorder=2)
        areas = [9 + 70 * n / max(count) for n in count]
        label = f"{level}, ECE {100 * found.ece:.1f} %"
        axes.scatter(x, y, s=areas, color=colour, marker=marker, zorder=3, gid=f"level{i}", label=label)
        texts[f"level{i}"] = [
            f"{level}: {n} images, sure to {a:.0f} %, right in {b:.0f} %" for n, a, b in zip(count, x, y, strict=True)
        ]
    axes.set_xlim(0, 101)
    axes.set_ylim(0, 101)
    axes.set_aspect("equal")
    furnish(axes, x="mean confidence [%]", y="accuracy [%]", title=title, grid="both")
    legend = figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL)
    for handle in legend.legend_handles:
        handle.set_sizes([28])  # type: ignore[union-attr]
    return figure, texts
