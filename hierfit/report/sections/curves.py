"""What changes over training steps, and over the number of training images a leaf."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from hierfit.errors import UserError
from hierfit.report.blocks import Block, Drawing, Picture
from hierfit.report.evidence import Evidence, FinishedRun
from hierfit.report.plot import draw_panels, panels
from hierfit.report.style import DASHES, MUTED, furnish, legend_below, look_of, new_axes

Series = Sequence[tuple[int, float]]

_RADII = ("image_radius", "node_radius", "attribute_radius")
_AT_CAP = "image_share_at_cap"
_CAP_CAPTION = "Share of images at the cap: near 100 % no radial order of images can form."
_SAME_METRIC = 1e-6
_OVER_SHOTS = {"leaf_accuracy": "Leaf accuracy", "fpa@decoded": "FPA, decoded"}


def training_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs that were trained."""
    run = evidence.focus
    trained = {name.removeprefix("train/"): line for name, line in run.curves.items() if name.startswith("train/")}
    radii = {name: trained.pop(name) for name in _RADII if name in trained}
    at_cap = trained.pop(_AT_CAP, ())
    if not trained:
        raise UserError(f"{run.card.row} was not trained, or left no metrics.csv.")
    val = {name: run.curves.get(f"val/{name}", ()) for name in ("leaf_accuracy", "fpa", "tice")}
    selected = _kept_step(run)
    every: list[tuple[str, Mapping[str, Series], float, str, str]] = [
        ("loss", trained, 1, "Training loss and its terms, before weighting.", "loss"),
        ("validation", val, 100, "Validation metrics of per-level argmax.", "% of validation images"),
        ("radii_over_training", radii, 1, "Mean distance from the origin.", "radius"),
        ("at_cap", {"images at the cap": at_cap}, 100, _CAP_CAPTION, "% of images"),
    ]
    pictures = []
    for name, series, scale, caption, y in every:
        shown = {each.replace("_", " "): [(s, scale * v) for s, v in line] for each, line in series.items() if line}
        if shown:
            title = name.replace("_", " ").capitalize()
            ends = "; ".join(f"{each} ends at {points[-1][1]:.2f}" for each, points in shown.items())
            alt = f"{title} over steps: {ends}."
            pictures.append(Picture(name, caption, alt, partial(_over_steps, shown, title, y, selected)))
    cost = run.card.cost
    lead = f"{cost.get('steps', '?')} steps in {cost.get('train_seconds', 0):.0f} s."
    if "loss" in trained:
        (start, first), (_, last) = trained["loss"][0], trained["loss"][-1]
        lead += f" The loss went from {first:.2f} (step {start}) to {last:.2f}."
    if selected is not None:
        lead += f" The weights of step {selected} were kept, selected on validation."
    return lead, pictures


def _kept_step(run: FinishedRun) -> int | None:
    """First step whose validation metrics are all those of the chosen checkpoint: one alone may be so at many."""
    found = [(run.curves.get(name, ()), value) for name, value in run.card.val.items()]
    alike = [{step for step, seen in curve if abs(seen - value) < _SAME_METRIC} for curve, value in found if curve]
    return min(set.intersection(*alike), default=None) if alike else None


def _over_steps(series: Mapping[str, Series], title: str, y: str, selected: int | None) -> Drawing:
    figure, axes = new_axes(height=2.9)
    for i, (name, points) in enumerate(series.items()):
        steps, values = zip(*points, strict=True)
        size = 4 if len(points) < 40 else 0
        axes.plot(steps, values, linewidth=1.3, label=name, markersize=size, **look_of(i))
    furnish(axes, x="step", y=y, title=title)
    if selected is not None:
        axes.axvline(selected, color=MUTED, dashes=DASHES, linewidth=1, label="selected on val")
    legend_below(figure)
    return figure, {}


def shots_section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs with several numbers of shots on the focus's data."""
    own, shared = evidence.focus.card, ("card", "protocol", "card_fingerprint")
    alike = [card for card in evidence.cards if all(card.data.get(key) == own.data.get(key) for key in shared)]
    cards = [card for card in alike if card.backbone == own.backbone]
    counts = dict.fromkeys(card.data.get("shots") for card in cards)
    if len(counts) < 2:
        raise UserError("all runs have the same number of shots.")
    if "leaf_accuracy" not in own.metrics.get("per_level", {}):
        raise UserError("the runs hold classes back, so their accuracies are not of all classes.")
    pictures = []
    for column, title in _OVER_SHOTS.items():
        shown = panels(cards, column)
        summary = [
            f"{row.name}: " + ", ".join(f"{100 * e.mean:.1f} at {'all' if s is None else s}" for s, e in row.points)
            for panel in shown
            for row in panel.rows
        ]
        name, alt = shown[0].column.key.replace("@", "_"), f"{title} over shots. {'; '.join(summary)}."
        caption = f"{title} in %, mean and 95 % t-interval over seeds."
        pictures.append(Picture(f"shots_{name}", caption, alt, lambda shown=shown: (draw_panels(shown), {})))  # type: ignore[misc]
    count = sum(shot is not None for shot in counts)
    return f"What more labels buy: {count} numbers of training images a leaf, the same draw for every row.", pictures
