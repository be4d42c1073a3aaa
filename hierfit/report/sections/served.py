"""What `hierfit predict` serves: how deep an answer may go at which price, and whether its probabilities hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from hierfit.decoding.calibration import Reliability, path_reliability
from hierfit.errors import UserError
from hierfit.report.blocks import Block, Drawing, Picture, Sheet
from hierfit.report.evidence import Evidence, FinishedRun
from hierfit.report.style import DASHES, MUTED, PALETTE, furnish, legend_below, look_of, new_axes
from hierfit.results import columns
from hierfit.results.table import DASH, Column, Table

_SHARES = {
    "error": "wrong",
    "coverage": "answered",
    "answered_error": "wrong of these",
    "depth": "depth",
    "information": "information",
}
_FIRM = 10  # samples from which on a bin's accuracy is worth a line


def depth_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs whose cards hold an operating curve; the control stands beside."""
    own = evidence.focus.card
    cards = [run.card for run in evidence.pair if run.card.belief.get("curve", {}).get("error")]
    if own not in cards:
        raise UserError("its card holds no operating curve; `hierfit rescore --write` makes one.")
    beliefs = {card.row: card.belief for card in cards}
    found = {card.row: columns.figure(card, "haurc@belief") for card in cards}
    areas = "; ".join(f"{row} {DASH if area is None else f'{100 * area:.2f}'}" for row, area in found.items())
    promised = {
        alpha: measured
        for alpha, measured in own.belief.get("max_error", {}).items()
        if measured.get("threshold") is not None
    }
    picture = Picture(
        "operating_curve",
        "Wrong answers, silence counting as right, against the information that answers keep (1 for a leaf, 0 for "
        f"silence, by the number of leaves below), as the threshold falls. Area below (hAURC, lower is better): "
        f"{areas}.",
        f"Curves of error over information kept. hAURC: {areas}.",
        partial(_operating_curves, {row: belief["curve"] for row, belief in beliefs.items()}, promised),
    )
    table = Table.of(
        "`--max-error`: at most this share of all answers is to be wrong, for images like those of the validation "
        "split (split conformal)",
        ("row", "max error", Column("threshold", ""), *(Column(header, "%") for header in _SHARES.values())),
        [
            (row, alpha, *map(measured.get, ("threshold", *_SHARES)))
            for row, belief in beliefs.items()
            for alpha, measured in belief.get("max_error", {}).items()
        ],
        f"Shares on test, in %. {DASH}: too few validation images.",
    )
    lead = f"Answered down to the leaf, {100 * own.belief['curve']['error'][0]:.1f} % of all images get a wrong answer."
    if promised:
        alpha, measured = list(promised.items())[-1]
        lead += (
            f" `predict --max-error {alpha}` stops early enough for {100 * measured['error']:.1f} %, and keeps "
            f"{100 * measured['information']:.0f} % of the information."
        )
    else:
        lead += " Too few validation images to promise less."
    return lead, (picture, Sheet("max_error", table))


def _operating_curves(
    curves: Mapping[str, Mapping[str, Sequence[float]]], promised: Mapping[str, Mapping[str, float]]
) -> Drawing:
    """Error against information kept, a line a run, from silence at the left to whole paths at the right.

    What was promised is marked on the first one's.
    """
    figure, axes = new_axes(height=3.2)
    for i, (row, curve) in enumerate(curves.items()):
        x, y = ([100 * value for value in curve[name]] for name in ("information", "error"))
        axes.plot(x, y, color=look_of(i)["color"], dashes=(4, 2) if i else (), linewidth=1.4, label=row)
    for i, (alpha, found) in enumerate(promised.items()):
        look = {**look_of(i), "color": PALETTE[0], "markersize": 6}
        axes.plot(100 * found["information"], 100 * found["error"], label=f"max error {alpha}", linestyle="", **look)
    axes.set_xlim(0, 101)
    axes.set_ylim(bottom=0)
    furnish(axes, x="information kept [%]", y="wrong answers [% of all images]", grid="both")
    legend_below(figure)
    return figure, {}


def reliability_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs that saved their test logits; the control stands beside."""
    own = evidence.focus.card
    runs = evidence.read()
    found = {run.card.row: _by_level(run) for run in evidence.pair if run is evidence.focus or run in runs}
    if not found[own.row]:
        raise UserError("no test image is labelled.")
    level, worst = max(found[own.row].items(), key=lambda item: item[1].ece)
    sure, right = _mean_over_bins(worst)
    lead = (
        f"Worst at the level {level}: an expected calibration error (ECE) of {100 * worst.ece:.1f} %, "
        f"{'over' if sure > right else 'under'}-confident on the whole (mean confidence {100 * sure:.1f} %, accuracy "
        f"{100 * right:.1f} %)."
    )
    pictures = []
    for name, (row, levels) in zip(("reliability", "reliability_control"), found.items(), strict=False):
        summary = "; ".join(f"{level} {100 * each.ece:.1f} %" for level, each in levels.items())
        caption = (
            f"{row}, seed {own.seed}: accuracy of the images in each of 15 bins of confidence, a colour a level, "
            "larger for more images; lines join bins of ten and more. Below the dashed line a level is surer than it "
            "is right."
        )
        alt = f"Reliability diagram of {row}. ECE: {summary}."
        pictures.append(Picture(name, caption, alt, partial(_diagram, levels, row)))
    table = Table.of(
        "Mean probability, accuracy and expected calibration error (15 bins of equal width), in %",
        ("row", "level", *(Column(header, "%") for header in ("confidence", "accuracy", "ECE"))),
        [
            (row, level, *_mean_over_bins(each), each.ece)
            for row, levels in found.items()
            for level, each in levels.items()
        ],
        "Of the node that is answered on each level: the probabilities that `hierfit predict` prints.",
    )
    return lead, [*pictures, Sheet("reliability", table, narrow=True)]


def _by_level(run: FinishedRun) -> dict[str, Reliability]:
    """Each labelled level's: probability of the node that the belief's descent takes there, right or wrong."""
    read, tree = run.reading, run.reading.taxonomy
    each = (path_reliability(read.answer, read.confidence, read.target, tree, d) for d in range(tree.num_levels))
    return {level: found for level, found in zip(tree.levels, each, strict=True) if found.count.sum()}


def _mean_over_bins(found: Reliability) -> tuple[float, float]:
    """Mean confidence and accuracy of all samples."""
    weight = found.count / found.count.sum()
    sure, right = (float((weight * x.nan_to_num()).sum()) for x in (found.confidence, found.accuracy))
    return sure, right


def _diagram(levels: Mapping[str, Reliability], title: str) -> Drawing:
    """A point a bin and level, larger for more samples; a line through those of ten and more."""
    figure, axes = new_axes(height=4.3)
    axes.plot([0, 100], [0, 100], color=MUTED, dashes=DASHES, linewidth=1, zorder=1)
    texts = {}
    for i, (level, found) in enumerate(levels.items()):
        sure, right = (100 * found.confidence).tolist(), (100 * found.accuracy).tolist()
        every = zip(found.count.tolist(), sure, right, strict=True)
        points = [point for point in every if point[0]]
        firm, most = [point for point in points if point[0] >= _FIRM], max(count for count, _, _ in points)
        axes.plot([x for _, x, _ in firm], [y for _, _, y in firm], color=look_of(i)["color"], linewidth=1.2, zorder=2)
        areas, label = [9 + 70 * count / most for count, _, _ in points], f"{level}, ECE {100 * found.ece:.1f} %"
        look = {**look_of(i), "gid": f"level{i}", "label": label, "zorder": 3}
        axes.scatter([x for _, x, _ in points], [y for _, _, y in points], s=areas, **look)
        texts[f"level{i}"] = [f"{level}: {n} images, sure to {a:.0f} %, right in {b:.0f} %" for n, a, b in points]
    axes.set_xlim(0, 101)
    axes.set_ylim(0, 101)
    axes.set_aspect("equal")
    furnish(axes, x="mean confidence [%]", y="accuracy [%]", title=title, grid="both")
    for handle in legend_below(figure).legend_handles:
        handle.set_sizes([28])
    return figure, texts
