"""What an experiment's file says a rerun of it finds: the key ``expected``. It never changes what is run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any, NamedTuple

from hierfit.config.schema import Place, build, nearest
from hierfit.config.settings import Setting
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


def figures_of_rows(value: object, place: Place, problems: list[str]) -> dict[str, dict[str, Range]]:
    """Ranges by row and figure, as written; every fault is added to ``problems``, with its line."""
    found = _ranges_of_rows(value, place, problems)
    problems += unknown_figures(found, place)
    return found


def _ranges_of_rows(value: object, place: Place, problems: list[str]) -> dict[str, dict[str, Range]]:
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


@dataclass(frozen=True)
class Expectations:
    """The ranges of an experiment.

    Attributes:
        seeds: That were measured: a rerun with one of them belongs inside.
        minutes: Of the whole experiment with its controls, on 2 cores, with one seed.
        rows: For each row (the run's own or a control's) its figures, named as columns are: ``leaf_accuracy``,
            ``fpa@best_path``, ``h@base_to_novel``.
    """

    seeds: tuple[int, ...]
    minutes: float
    rows: Mapping[str, Mapping[str, Range]] = field(metadata={"parse": _ranges_of_rows})

    def __post_init__(self) -> None:
        problems = [] if self.seeds else ["seeds: is empty, nothing was measured"]
        problems += [f"seeds: {seed}, must be at least 0" for seed in self.seeds if seed < 0]
        if not 0 < self.minutes < math.inf:
            problems.append(f"minutes: {self.minutes:g}, must be more than 0")
        if problems:
            raise UserError("These expectations cannot be used.", problems)


def read_expected(value: object, place: Place, problems: list[str]) -> Expectations | None:
    """What the key holds; every fault but figures that do not exist is added to ``problems``, with its line."""
    return None if value is None else build(Expectations, value, place, problems)


def expectations(content: Mapping[str, Any], place: Place, problems: list[str]) -> Expectations | None:
    """What an experiment's file expects; None when it says nothing, or something faulty.

    Args:
        content: Of the file.
        place: The file's.
        problems: Every fault is added here, with its line: keys, figures and rows that do not exist, ends that are no
            range.
    """
    found = read_expected(content.get(KEY), place.at(KEY), problems)
    if found is None:
        return None
    here, rows = place.at(KEY).at("rows"), _rows_of(content)
    unknown = [f"{here.at(row)}: there is no row {row!r}{nearest(row, rows)}" for row in found.rows if row not in rows]
    faults = unknown if rows else []
    faults = faults + unknown_figures(found.rows, here)
    problems += faults
    return None if faults else found


def unknown_figures(rows: Mapping[str, Mapping[str, Range]], place: Place) -> list[str]:
    """Figures that no result card holds, each with its line; it takes torch to know."""
    return [
        f"{place.at(row).at(figure)}: there is no such figure{nearest(figure, _names())}"
        for row, figures in rows.items()
        for figure in figures
        if not _is_figure(figure)
    ]


def _rows_of(content: Mapping[str, Any]) -> list[str]:
    """Names of the rows an experiment's file leads to; empty when it leaves the method to another file."""
    model = content.get("model")
    method = model.get("class_path") if isinstance(model, Mapping) else model
    row = content.get("row") or (method.rpartition(".")[2] if isinstance(method, str) else None)
    controls = content.get("controls")
    return [str(row), *(map(str, controls) if isinstance(controls, Mapping) else ())] if row else []


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


def _names() -> set[str]:
    return {*_figures(), *(name.partition("@")[0] for name in _figures())}


def check_figures(expected: Sequence[Setting]) -> None:
    """Looks at the figures that a run's files name, which `read_expected` has not.

    Raises:
        UserError: No result card holds some of them.
    """
    problems: list[str] = []
    for setting in expected:
        if found := read_expected(setting.value, setting.at, []):
            problems += unknown_figures(found.rows, setting.at.at("rows"))
    if problems:
        raise UserError("The configuration cannot be used.", problems)


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
