"""Losses, validation and the health of the latent space over training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial

from hierfit.errors import UserError
from hierfit.report.blocks import Block, Drawn, Picture
from hierfit.report.evidence import Evidence, Run
from hierfit.report.style import COLOURS, MARKERS, MUTED, SMALL, furnish, new_axes

Series = Sequence[tuple[int, float]]

_RADII = ("image_radius", "node_radius", "attribute_radius")
_AT_CAP = "image_share_at_cap"
_SAME = 1e-6


def section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
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
