"""What the file of an experiment or a grid says a rerun finds: the key ``expected``. It never changes what is run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Annotated, Any, NamedTuple

from annotated_types import Ge, Gt

from hierfit.config.schema import Place, build, nearest
from hierfit.errors import UserError
from hierfit.results.columns import with_decoder

KEY = "expected"

_LEVEL = "LEVEL"
_NOT_IN_PERCENT = ("tree_distance", "mistake_severity")


class Range(NamedTuple):
    """Both ends in %; they belong to it."""

    low: float
    high: float

    def holds(self, percent: float) -> bool:
        """Whether a figure lies inside, read with two decimals as tables print it."""
        return self.low <= round(percent, 2) <= self.high


Rows = Mapping[str, Mapping[str, Range]]
"""By row and figure; figures are named as columns are: ``leaf_accuracy``, ``fpa@best_path``, ``h@base_to_novel``."""


def ranges_of_rows(value: object, place: Place, problems: list[str]) -> Rows:
    """Ranges as written; every fault but figures that do not exist is added to ``problems``, with its line."""
    found: dict[str, dict[str, Range]] = {}
    for row, ranges in _entries(value, place, "expected rows, each with its figures", problems).items():
        found[row] = {}
        here = place.at(row)
        for figure, ends in _entries(ranges, here, "expected figures, each as [low, high] in %", problems).items():
            if fault := _fault(figure, ends):
                problems.append(f"{here.at(figure)}: {fault}")
            else:
                found[row][figure] = Range(*ends)
    return found


def _ranges_of_cards(value: object, place: Place, problems: list[str]) -> dict[str, Rows]:
    cards = _entries(value, place, "expected cards, each with its rows and figures", problems)
    found = {card: ranges_of_rows(rows, place.at(card), problems) for card, rows in cards.items()}
    for card, rows in found.items():
        problems += unknown_figures(rows, place.at(card))
    return found


@dataclass(frozen=True)
class _Measured:
    """Seeds that were measured, with which a rerun belongs inside; and minutes of one of them, on 2 cores."""

    seeds: tuple[Annotated[int, Ge(0)], ...]
    minutes: Annotated[float, Gt(0)]

    def __post_init__(self) -> None:
        if not self.seeds:
            raise UserError("seeds: is empty, nothing was measured")


@dataclass(frozen=True)
class Expectations(_Measured):
    """The ranges of an experiment: of its own row and its controls'."""

    rows: Rows = field(metadata={"parse": ranges_of_rows})


@dataclass(frozen=True)
class GridExpectations(_Measured):
    """The ranges of a grid, by card; of the number of shots, where the grid has several."""

    cards: Mapping[str, Rows] = field(metadata={"parse": _ranges_of_cards})
    shots: int | None = None


def read_expected(value: object, place: Place, problems: list[str]) -> Expectations | None:
    """What an experiment's key holds; every fault but figures that do not exist is added to ``problems``."""
    return None if value is None else build(Expectations, value, place, problems)


def unknown_figures(rows: Rows, place: Place) -> list[str]:
    """Figures that no result card holds, each with its line; it takes torch to know."""
    names = {*_figures(), *(name.partition("@")[0] for name in _figures())}
    return [
        f"{place.at(row).at(figure)}: there is no such figure{nearest(figure, names)}"
        for row, figures in rows.items()
        for figure in figures
        if not _is_figure(figure)
    ]


def _entries(value: object, place: Place, wanted: str, problems: list[str]) -> dict[str, Any]:
    if isinstance(value, Mapping) and value:
        return {str(key): entry for key, entry in value.items()}
    problems.append(f"{place}: {wanted}")
    return {}


def _fault(figure: str, ends: object) -> str:
    """What is wrong with a figure or its range; empty when nothing is."""
    if figure.partition("@")[0] in _NOT_IN_PERCENT:
        return "is not in %"
    if not isinstance(ends, Sequence) or len(ends) != 2 or any(type(end) not in (int, float) for end in ends):
        return f"expected [low, high] in %, got {ends!r}"
    low, high = ends
    if not 0 <= low <= 100 or not 0 <= high <= 100:
        return f"{ends!r} does not lie between 0 and 100 %"
    return f"{low} is more than {high}" if low > high else ""


def _is_figure(figure: str) -> bool:
    metric, _, decoder = figure.partition("@")
    known = f"{metric.partition('/')[0]}/{_LEVEL}" if "/" in metric else metric  # names of levels are the data's
    return with_decoder(f"{known}@{decoder}" if decoder else known) in _figures()


@cache
def _figures() -> frozenset[str]:
    """``metric@decoder`` for all that result cards hold, asked of the code that fills them, on two leaves."""
    import torch

    from hierfit.decoding import Calibration
    from hierfit.metrics.base_to_novel import base_to_novel
    from hierfit.metrics.served import score
    from hierfit.results.logits import LeafLogits
    from hierfit.taxonomy import Taxonomy

    tree = Taxonomy.from_paths([("a",), ("b",)], levels=(_LEVEL,))
    logits, labels, seen = torch.eye(2), torch.arange(2), torch.tensor([True, False])
    scored, _ = score([(logits, labels[:, None])], tree, Calibration())
    return frozenset(
        [
            *(f"{metric}@{decoder}" for decoder, metrics in scored.items() for metric in metrics),
            *(f"{metric}@base_to_novel" for metric in base_to_novel(logits, labels[:, None], tree, seen)),
            *(f"{metric}@true_tree" for metric in LeafLogits(tree, logits, labels, seen).figures()),
        ]
    )
