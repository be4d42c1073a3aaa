"""Accuracy over the number of training images a leaf."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from hierfit.errors import UserError
from hierfit.report.blocks import Block, Drawn, Picture
from hierfit.report.evidence import Evidence
from hierfit.report.plot import Panel, draw, panels
from hierfit.results.card import ResultCard

_COLUMNS = {"leaf_accuracy": "Leaf accuracy", "fpa@decoded": "FPA, decoded"}


def section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
    """Of runs with several numbers of shots on the focus's data."""
    own = evidence.focus.card
    cards = [card for card in evidence.cards if _alike(card, own)]
    shots = dict.fromkeys(card.data.get("shots") for card in cards)
    if len(shots) < 2:
        raise UserError("all runs have the same number of shots.")
    if "leaf_accuracy" not in own.metrics.get("per_level", {}):
        raise UserError("the runs hold classes back, so their accuracies are not of all classes.")
    count = sum(shot is not None for shot in shots)
    lead = f"What more labels buy: {count} numbers of training images a leaf, the same draw for every row."
    return lead, [_picture(panels(cards, column), title) for column, title in _COLUMNS.items()]


def _alike(card: ResultCard, own: ResultCard) -> bool:
    same = all(card.data.get(key) == own.data.get(key) for key in ("card", "protocol", "card_fingerprint"))
    return same and card.backbone == own.backbone


def _picture(shown: Sequence[Panel], title: str) -> Picture:
    summary = [
        f"{curve.row}: " + ", ".join(f"{100 * e.mean:.1f} at {'all' if s is None else s}" for s, e in curve.points)
        for panel in shown
        for curve in panel.curves
    ]
    return Picture(
        f"shots_{shown[0].column.key.replace('@', '_')}",
        f"{title} in %, mean and 95 % t-interval over seeds.",
        f"{title} over shots. {'; '.join(summary)}.",
        partial(_draw, shown),
    )


def _draw(shown: Sequence[Panel]) -> Drawn:
    return draw(shown), {}
