"""How deep an answer may go: error against what is kept, and what the promised error rates came to on test."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from hierfit.errors import UserError
from hierfit.report.blocks import Block, Drawn, Picture, Sheet
from hierfit.report.evidence import Evidence
from hierfit.report.style import COLOURS, MARKERS, SMALL, furnish, new_axes
from hierfit.results.table import DASH, Column, Table

Beliefs = Mapping[str, Mapping[str, Any]]

_SHARES = {
    "error": "wrong",
    "coverage": "answered",
    "answered_error": "wrong of these",
    "depth": "depth",
    "information": "information",
}


def section(evidence: Evidence) -> tuple[str, Sequence[Block]]:
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
        "On test, in %: wrong of all, answered, wrong of those answered (which can be more), and depth and information "
        f"kept. {DASH}: too few validation images.",
    )
    return _lead(own.belief), (picture, Sheet("max_error", table, narrow=True))


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
        axes.plot(x, y, color=COLOURS[i % len(COLOURS)], linewidth=1.4, label=row)
    for i, (alpha, found) in enumerate(_promised(next(iter(beliefs.values())))):
        point = {"marker": MARKERS[i % len(MARKERS)], "color": COLOURS[0], "markersize": 6, "linestyle": ""}
        axes.plot([100 * found["information"]], [100 * found["error"]], label=f"max error {alpha}", **point)  # type: ignore[arg-type]
    axes.set_xlim(0, 101)
    axes.set_ylim(bottom=0)
    furnish(axes, x="information kept [%]", y="wrong answers [% of all images]", grid="both")
    figure.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=SMALL)
    return figure, {}
