"""What changes over training steps, and over the number of training images a leaf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from hierfit.errors import UserError
from hierfit.report.blocks import Block, Drawn, Picture
from hierfit.report.evidence import Evidence, Run
from hierfit.report.plot import Panel, draw, panels
from hierfit.report.style import COLOURS, MARKERS, MUTED, SMALL, furnish, new_axes
from hierfit.results.card import ResultCard

Series = Sequence[tuple[int, float]]

_RADII = ("image_radius", "node_radius", "attribute_radius")
_AT_CAP = "image_share_at_cap"
_SAME = 1e-6
_OVER_SHOTS = {"leaf_accuracy": "Leaf accuracy", "fpa@decoded": "FPA, decoded"}


def training(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs that were trained."""
    run = evidence.focus
    trained = {name.removeprefix("train/"): line for name, line in run.curves.items() if name.startswith("train/")}
    radii = {name: trained.pop(name) for name in _RADII if name in trained}
    at_cap = trained.pop(_AT_CAP, None)
    if not trained:
        raise UserError(f"{run.card.row} was not trained, or left no metrics.csv.")
    found = {name: run.curves.get(f"val/{name}") for name in ("leaf_accuracy", "fpa", "tice")}
    val = {name: _percent(line) for name, line in found.items() if line}
    selected = _selected(run)
    every = [
        ("loss", trained, "Training loss and its terms, before weighting.", "loss"),
        ("validation", val, "Validation metrics of per-level argmax.", "% of validation images"),
        ("radii_over_training", radii, "Mean distance from the origin.", "radius"),
        (
            "at_cap",
            {"images at the cap": _percent(at_cap)} if at_cap else {},
            "Share of images at the cap: near 100 % no radial order of images can form.",
            "% of images",
        ),
    ]
    pictures = [_picture(name, series, caption, y, selected) for name, series, caption, y in every if series]
    return _lead(run, trained, selected), pictures


def _lead(run: Run, losses: Mapping[str, Series], selected: int | None) -> str:
    cost = run.card.cost
    text = f"{cost.get('steps', '?')} steps in {cost.get('train_seconds', 0):.0f} s."
    if "loss" in losses:
        (start, first), (_, last) = losses["loss"][0], losses["loss"][-1]
        text += f" The loss went from {first:.2f} (step {start}) to {last:.2f}."
    if selected is not None:
        text += f" The weights of step {selected} were kept, selected on validation."
    return text


def _selected(run: Run) -> int | None:
    """First step whose validation metrics are all those of the chosen checkpoint: one alone may be so at many."""
    found = [(run.curves.get(name, ()), value) for name, value in run.card.val.items()]
    alike = [{step for step, seen in curve if abs(seen - value) < _SAME} for curve, value in found if curve]
    return min(set.intersection(*alike), default=None) if alike else None


def _percent(points: Series) -> Series:
    return [(step, 100 * value) for step, value in points]


def _picture(name: str, series: Mapping[str, Series], caption: str, y: str, selected: int | None) -> Picture:
    shown = {each.replace("_", " "): points for each, points in series.items()}
    ends = "; ".join(f"{each} ends at {points[-1][1]:.2f}" for each, points in shown.items())
    title = name.replace("_", " ").capitalize()
    return Picture(name, caption, f"{title} over steps: {ends}.", partial(_curves, shown, title, y, selected))


def _curves(series: Mapping[str, Series], title: str, y: str, selected: int | None) -> Drawn:
    figure, axes = new_axes(height=2.9)
    for i, (name, points) in enumerate(series.items()):
        steps, values = zip(*points, strict=True)
        colour, marker = COLOURS[i % len(COLOURS)], MARKERS[i % len(MARKERS)]
        size = 4 if len(points) < 40 else 0
        axes.plot(steps, values, color=colour, marker=marker, markersize=size, linewidth=1.3, label=name)
    if selected is not None:
        axes.axvline(selected, color=MUTED, dashes=(4, 3), linewidth=1, label="selected on val")
    furnish(axes, x="step", y=y, title=title)
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL)
    return figure, {}


def shots(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs with several numbers of shots on the focus's data."""
    own = evidence.focus.card
    cards = [card for card in evidence.cards if _alike(card, own)]
    counts = dict.fromkeys(card.data.get("shots") for card in cards)
    if len(counts) < 2:
        raise UserError("all runs have the same number of shots.")
    if "leaf_accuracy" not in own.metrics.get("per_level", {}):
        raise UserError("the runs hold classes back, so their accuracies are not of all classes.")
    count = sum(shot is not None for shot in counts)
    lead = f"What more labels buy: {count} numbers of training images a leaf, the same draw for every row."
    return lead, [_shots_picture(panels(cards, column), title) for column, title in _OVER_SHOTS.items()]


def _alike(card: ResultCard, own: ResultCard) -> bool:
    same = all(card.data.get(key) == own.data.get(key) for key in ("card", "protocol", "card_fingerprint"))
    return same and card.backbone == own.backbone


def _shots_picture(shown: Sequence[Panel], title: str) -> Picture:
    summary = [
        f"{curve.row}: " + ", ".join(f"{100 * e.mean:.1f} at {'all' if s is None else s}" for s, e in curve.points)
        for panel in shown
        for curve in panel.curves
    ]
    return Picture(
        f"shots_{shown[0].column.key.replace('@', '_')}",
        f"{title} in %, mean and 95 % t-interval over seeds.",
        f"{title} over shots. {'; '.join(summary)}.",
        lambda: (draw(shown), {}),
    )
