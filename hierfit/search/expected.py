"""What the file of an experiment or a grid says a rerun finds: the key ``expected``. It never changes what is run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeAlias

from annotated_types import Ge, Gt

from hierfit.config.schema import Place, build
from hierfit.errors import UserError, nearest
from hierfit.results.columns import with_decoder

KEY = "expected"

_LEVEL = "LEVEL"
_NOT_IN_PERCENT = ("tree_distance", "mistake_severity")


class Range(NamedTuple):
    """Both ends in %; they belong to it."""

    low: float
    high: float

    @classmethod
    def from_yaml(cls, value: Any, place: Place, problems: list[str]) -> Range:
        """The range of the figure by whose name it stands."""
        fault = ""
        if place.key[-1].partition("@")[0] in _NOT_IN_PERCENT:
            fault = "is not in %"
        elif not isinstance(value, list) or len(value) != 2 or any(type(end) not in (int, float) for end in value):
            fault = f"expected [low, high] in %, got {value!r}"
        elif not all(0 <= end <= 100 for end in value):
            fault = f"{value!r} does not lie between 0 and 100 %"
        elif value[0] > value[1]:
            fault = f"{value[0]} is more than {value[1]}"
        problems += [f"{place}: {fault}"] if fault else []
        return cls(0.0, 0.0) if fault else cls(*value)

    def holds(self, percent: float) -> bool:
        """Whether a figure lies inside, read with two decimals as tables print it."""
        return self.low <= round(percent, 2) <= self.high


Ranges: TypeAlias = Mapping[str, Mapping[str, Range]]
"""By row and figure; figures are named as columns are: ``leaf_accuracy``, ``fpa@best_path``, ``h@base_to_novel``."""


@dataclass(frozen=True)
class _Measured:
    """Seeds that were measured, with which a rerun belongs inside; and minutes of one of them, on 2 cores."""

    seeds: tuple[Annotated[int, Ge(0)], ...]
    minutes: Annotated[float, Gt(0)]

    def __post_init__(self) -> None:
        if empty := [each.name for each in fields(self) if getattr(self, each.name) in ((), {})]:
            raise UserError(f"{empty[0]}: is empty, nothing was measured")


@dataclass(frozen=True)
class Expectations(_Measured):
    """The ranges of an experiment: of its own row and its controls'."""

    rows: Ranges


@dataclass(frozen=True)
class GridExpectations(_Measured):
    """The ranges of a grid, by card; of the number of shots, where the grid has several."""

    cards: Mapping[str, Ranges]
    shots: int | None = None


def read_expected(value: object, place: Place, problems: list[str]) -> Expectations | None:
    """What an experiment's key holds; every fault but figures that do not exist is added to ``problems``."""
    return None if value is None else build(Expectations, value, place, problems)


def unknown_figures(rows: Ranges, place: Place) -> list[str]:
    """Figures that no result card holds, each with its line; it takes torch to know."""
    names = {*_known_figures(), *(name.partition("@")[0] for name in _known_figures())}
    return [
        f"{place.at(row).at(figure)}: there is no such figure{nearest(figure, names)}"
        for row, figures in rows.items()
        for figure in figures
        if not _is_figure(figure)
    ]


def _is_figure(figure: str) -> bool:
    metric, _, decoder = figure.partition("@")
    known = f"{metric.partition('/')[0]}/{_LEVEL}" if "/" in metric else metric  # names of levels are the data's
    return with_decoder(f"{known}@{decoder}" if decoder else known) in _known_figures()


@cache
def _known_figures() -> frozenset[str]:
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
