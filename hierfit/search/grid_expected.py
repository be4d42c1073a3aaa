"""What a grid's file says a rerun of it finds: the key ``expected``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from hierfit.config.schema import Place, build, nearest
from hierfit.errors import UserError
from hierfit.run.expected import Range, figures_of_rows
from hierfit.search.grid_file import GridFile


def _cards(value: object, place: Place, problems: list[str]) -> dict[str, dict[str, dict[str, Range]]]:
    if not isinstance(value, Mapping) or not value:
        problems.append(f"{place}: expected cards, each with its rows and figures")
        return {}
    return {str(card): figures_of_rows(rows, place.at(str(card)), problems) for card, rows in value.items()}


@dataclass(frozen=True)
class GridExpectations:
    """The ranges of a grid.

    Attributes:
        seeds: That were measured: a rerun with one of them belongs inside.
        minutes: Of the cells named here, on 2 cores, with one seed.
        cards: For each card and row its figures, see `hierfit.run.expected.Expectations`.
        shots: Of these figures; a grid of one number of shots need not say it.
    """

    seeds: tuple[int, ...]
    minutes: float
    cards: Mapping[str, Mapping[str, Mapping[str, Range]]] = field(metadata={"parse": _cards})
    shots: int | None = None

    def __post_init__(self) -> None:
        problems = [] if self.seeds else ["seeds: is empty, nothing was measured"]
        problems += [] if self.minutes > 0 else [f"minutes: {self.minutes:g}, must be more than 0"]
        if problems:
            raise UserError("These expectations cannot be used.", problems)

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows with a figure on any card."""
        return tuple(dict.fromkeys(row for rows in self.cards.values() for row in rows))


def grid_expectations(grid: GridFile, problems: list[str]) -> GridExpectations | None:
    """What a grid's file expects; None when it says nothing, or something faulty.

    Args:
        grid: The file.
        problems: Every fault is added here, with its line.
    """
    if grid.expected is None:
        return None
    place = grid.source.at("expected")
    found = build(GridExpectations, grid.expected, place, problems)
    if found is None:
        return None
    before = len(problems)
    problems += _unknown(found.seeds, grid.seeds, place.at("seeds"), "seed")
    problems += _unknown(found.cards, grid.cards, place.at("cards"), "card")
    for card, rows in found.cards.items():
        problems += _unknown(rows, grid.methods, place.at("cards").at(card), "row")
    if "shots" in grid.expected or len(grid.shots) > 1:
        problems += _unknown([found.shots], grid.shots, place.at("shots"), "number of shots")
    return found if len(problems) == before else None


def _unknown(names: Iterable[object], known: Iterable[object], place: Place, what: str) -> list[str]:
    known = list(known)
    return [
        f"{place}: the grid has no {what} {name!r}{nearest(str(name), map(str, known))}"
        for name in names
        if name not in known
    ]
