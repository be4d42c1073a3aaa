"""How deep an answer may go: error against what is kept, and what the promised error rates came to on test."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from hierfit.report.blocks import Block, Omitted, Picture, Section, Table
from hierfit.report.drawing.operating import operating_curves
from hierfit.report.evidence import Evidence
from hierfit.results.sheet import DASH
from hierfit.results.table import percent

TITLE = "How deep an answer may go"


def section(evidence: Evidence) -> Section | Omitted:
    """Of runs whose cards hold an operating curve; the control stands beside."""
    shown = [run.card for run in evidence.beside if run.card.row == evidence.control]
    cards = [evidence.focus.card, *(card for card in shown if card is not evidence.focus.card)]
    beliefs = {card.row: card.belief for card in cards if card.belief.get("curve")}
    if evidence.focus.card.row not in beliefs:
        return Omitted(TITLE, "its card holds no operating curve; `hierfit rescore --write` makes one.")
    focus = beliefs[evidence.focus.card.row]
    areas = {card.row: card.metrics["belief"]["haurc"] for card in cards if card.row in beliefs}
    blocks: list[Block] = [_picture(beliefs, areas), _table(beliefs)]
    whole = focus["curve"]["error"][0]
    return Section("depth", TITLE, _lead(focus, whole), tuple(blocks))


def _lead(belief: Mapping[str, Any], whole: float) -> str:
    said = f"Answered down to the leaf, {100 * whole:.1f} % of all images get a wrong answer."
    promised = [(alpha, found) for alpha, found in belief["max_error"].items() if found["threshold"] is not None]
    if not promised:
        return f"{said} Too few validation images to promise less."
    alpha, found = promised[-1]
    return (
        f"{said} `predict --max-error {alpha}` stops early enough for {100 * found['error']:.1f} %, and keeps "
        f"{100 * found['information']:.0f} % of the information."
    )


def _picture(beliefs: Mapping[str, Mapping[str, Any]], under: Mapping[str, float | None]) -> Picture:
    curves = {
        row: [(100 * x, 100 * y) for x, y in zip(b["curve"]["information"], b["curve"]["error"], strict=True)]
        for row, b in beliefs.items()
    }
    focus = next(iter(beliefs.values()))
    marked = {
        f"max error {alpha}": (100 * found["information"], 100 * found["error"])
        for alpha, found in focus["max_error"].items()
        if found["threshold"] is not None
    }
    areas = "; ".join(f"{row} {percent(area)}" for row, area in under.items())
    return Picture(
        "operating_curve",
        "Wrong answers, silence counting as right, against the information that answers keep (1 for a leaf, 0 for "
        f"silence, by the number of leaves below), as the threshold falls. Area below (hAURC, lower is better): "
        f"{areas}.",
        f"Curves of error over information kept. hAURC: {areas}.",
        partial(operating_curves, curves, marked),
    )


def _table(beliefs: Mapping[str, Mapping[str, Any]]) -> Table:
    rows = []
    for row, belief in beliefs.items():
        for alpha, found in belief["max_error"].items():
            shares = [found.get(name) for name in ("error", "coverage", "answered_error", "depth", "information")]
            threshold = DASH if found["threshold"] is None else f"{found['threshold']:.3f}"
            rows.append((row, alpha, threshold, *map(percent, shares)))
    return Table(
        "max_error",
        "`--max-error`: at most this share of all answers is to be wrong, for images like those of the validation "
        "split (split conformal). On test, in %: wrong of all, answered, wrong of those answered (which can be more), "
        f"and depth and information kept. {DASH}: too few validation images.",
        ("row", "max error", "threshold", "wrong", "answered", "wrong of these", "depth", "information"),
        tuple(rows),
        narrow=True,
    )
