"""Losses, validation and the health of the latent space over training."""

from __future__ import annotations

from functools import partial

from hierfit.report.blocks import Omitted, Picture, Section
from hierfit.report.drawing.curves import Series, curves
from hierfit.report.evidence import Evidence, Run

TITLE = "Training"

_RADII = ("image_radius", "node_radius", "attribute_radius")
_AT_CAP = "image_share_at_cap"
_SAME = 1e-6


def section(evidence: Evidence) -> Section | Omitted:
    """Of runs that were trained."""
    run = evidence.focus
    logged = run.curves
    losses = {
        name.removeprefix("train/"): points
        for name, points in logged.items()
        if name.startswith("train/") and name.removeprefix("train/") not in (*_RADII, _AT_CAP)
    }
    if not losses:
        return Omitted(TITLE, f"{run.card.row} was not trained, or left no metrics.csv.")
    selected = _selected(run)
    pictures = [_picture("loss", losses, "Training loss and its terms, before weighting.", "loss", selected)]
    wanted = ("leaf_accuracy", "fpa", "tice")
    val = {name: _percent(logged[f"val/{name}"]) for name in wanted if f"val/{name}" in logged}
    if val:
        pictures.append(
            _picture("validation", val, "Validation metrics of per-level argmax.", "% of validation images", selected)
        )
    radii = {name.replace("_", " "): logged[f"train/{name}"] for name in _RADII if f"train/{name}" in logged}
    if radii:
        pictures.append(_picture("radii_over_training", radii, "Mean distance from the origin.", "radius", selected))
    at_cap = logged.get(f"train/{_AT_CAP}")
    if at_cap:
        said = "Share of images at the cap: near 100 % no radial order of images can form."
        pictures.append(_picture("at_cap", {"images at the cap": _percent(at_cap)}, said, "% of images", selected))
    return Section("training", TITLE, _lead(run, losses, selected), tuple(pictures))


def _lead(run: Run, losses: dict[str, Series], selected: int | None) -> str:
    cost = run.card.cost
    said = f"{cost.get('steps', '?')} steps in {cost.get('train_seconds', 0):.0f} s."
    if "loss" in losses:
        first, last = losses["loss"][0], losses["loss"][-1]
        said += f" The loss went from {first[1]:.2f} (step {first[0]}) to {last[1]:.2f}."
    if selected is not None:
        said += f" The weights of step {selected} were kept, selected on validation."
    return said


def _selected(run: Run) -> int | None:
    """First step whose validation metrics are all those of the chosen checkpoint: one alone may be so at many."""
    curves = [(run.curves.get(name, ()), value) for name, value in run.card.val.items()]
    alike = [{step for step, seen in curve if abs(seen - value) < _SAME} for curve, value in curves if curve]
    return min(set.intersection(*alike), default=None) if alike else None


def _percent(points: Series) -> Series:
    return [(step, 100 * value) for step, value in points]


def _picture(name: str, series: dict[str, Series], caption: str, y: str, selected: int | None) -> Picture:
    ends = "; ".join(f"{each.replace('_', ' ')} ends at {points[-1][1]:.2f}" for each, points in series.items())
    shown = {each.replace("_", " "): points for each, points in series.items()}
    title = name.replace("_", " ").capitalize()
    return Picture(name, caption, f"{title} over steps: {ends}.", partial(curves, shown, title, y, selected))
