"""The file of a grid: rows × shots × seeds × cards, and the keys each of them sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hierfit.config.schema import Place, nearest, read_document
from hierfit.config.settings import seed_problem
from hierfit.errors import UserError

Keys = Mapping[str, Any]


def _groups_of_keys(value: object, place: Place, problems: list[str]) -> dict[str, Keys]:
    """Name → keys; a name without keys (``fieldguide:``) sets none."""
    if not isinstance(value, Mapping):
        problems.append(f"{place}: expected names, each with the keys it sets")
        return {}
    problems += [
        f"{place.at(str(name))}: expected keys and values, got {keys!r}"
        for name, keys in value.items()
        if not isinstance(keys, Mapping | None)
    ]
    return {str(name): keys if isinstance(keys, Mapping) else {} for name, keys in value.items()}


def _expected_cards(value: object, place: Place, problems: list[str]) -> dict[str, Any]:
    from hierfit.run.expected import figures_of_rows  # heavy, and most grids state nothing

    if not isinstance(value, Mapping) or not value:
        problems.append(f"{place}: expected cards, each with its rows and figures")
        return {}
    return {str(card): figures_of_rows(rows, place.at(str(card)), problems) for card, rows in value.items()}


@dataclass(frozen=True)
class GridExpectations:
    """What a rerun of a grid finds; see ``hierfit reproduce``.

    Attributes:
        seeds: That were measured: a rerun with one of them belongs inside.
        minutes: Of the cells named here, on 2 cores, with one seed.
        cards: For each card and row its figures and their ranges, see `hierfit.run.expected.Expectations`.
        shots: Of these figures; a grid of one number of shots need not say it.
    """

    seeds: tuple[int, ...]
    minutes: float
    cards: Mapping[str, Any] = field(metadata={"parse": _expected_cards})
    shots: int | None = None

    def __post_init__(self) -> None:
        problems = [] if self.seeds else ["seeds: is empty, nothing was measured"]
        problems += [] if self.minutes > 0 else [f"minutes: {self.minutes:g}, must be more than 0"]
        if problems:
            raise UserError("These expectations cannot be used.", problems)


@dataclass(frozen=True)
class GridFile:
    """A grid as written in its file; every attribute but `source` is a key of that file.

    Attributes:
        source: The file it was read from, and where its keys stand.
        name: Of the grid and its folder.
        cards: Data cards, by name, and the keys each sets, such as ``data.root``. Where a card's file is to be named
            by its path, ``data.card`` is one of them.
        methods: Rows of the table and the keys each sets: ``model`` names the method.
        shots: Images a leaf to train on; null for all.
        seeds: Of draw, order and initial weights.
        configs: Configuration files every run starts from, as of ``hierfit fit --config``.
        set: Keys for every run.
        control: The row to which paired differences are taken.
        columns: Of the table, see ``hierfit.results.columns``.
        expected: For ``hierfit reproduce`` alone.
    """

    source: Place = field(repr=False)
    name: str
    cards: Mapping[str, Keys] = field(metadata={"parse": _groups_of_keys})
    methods: Mapping[str, Keys] = field(metadata={"parse": _groups_of_keys})
    seeds: tuple[int, ...]
    shots: tuple[int | None, ...]
    configs: tuple[str, ...] = ()
    set: Keys = field(
        default_factory=dict, metadata={"parse": lambda *given: _groups_of_keys({"": given[0]}, *given[1:])[""]}
    )
    control: str | None = None
    columns: str = "default"
    expected: GridExpectations | None = field(default=None, repr=False)

    def faults(self) -> Iterator[str]:
        """What is wrong with the axes and with what is expected of them; the keys of runs are another matter."""
        axes: dict[str, Sequence[object]] = {
            "cards": list(self.cards),
            "methods": list(self.methods),
            "seeds": self.seeds,
            "shots": self.shots,
        }
        for axis, values in axes.items():
            place = self.source.at(axis)
            if not values:
                yield f"{place}: is empty, the grid has no cells"
            twice = [value for value, count in Counter(values).items() if count > 1]
            yield from (f"{place}: {'null' if v is None else repr(v)} is given twice" for v in twice)
        seeds, shots = self.source.at("seeds"), self.source.at("shots")
        yield from (f"{seeds}: {fault.partition(': ')[2]}" for s in self.seeds if (fault := seed_problem("seeds", s)))
        yield from (f"{shots}: {n}, must be at least 1" for n in self.shots if n is not None and n < 1)
        if self.control is not None:
            yield from _unknown([self.control], self.methods, self.source.at("control"), "there is no row")
        if (expected := self.expected) is not None:
            place, no = self.source.at("expected"), "the grid has no"
            yield from _unknown(expected.seeds, self.seeds, place.at("seeds"), f"{no} seed")
            yield from _unknown(expected.cards, self.cards, place.at("cards"), f"{no} card")
            for card, rows in expected.cards.items():
                yield from _unknown(rows, self.methods, place.at("cards").at(card), f"{no} row")
            if expected.shots is not None or len(self.shots) > 1:
                yield from _unknown([expected.shots], self.shots, place.at("shots"), f"{no} number of shots")


def _unknown(names: Iterable[object], known: Iterable[object], where: Place, lack: str) -> Iterator[str]:
    known = list(known)
    for name in names:
        if name not in known:
            yield f"{where}: {lack} {name!r}{nearest(str(name), map(str, known))}"


def read_grid(path: Path) -> GridFile:
    """Reads the file of a grid.

    Raises:
        UserError: Everything that is wrong with its form: unknown or missing keys, wrong types. What its axes and the
            keys of its runs mean is checked by `hierfit.search.grid.plan`.
    """
    return read_document(GridFile, path, "this grid cannot be run")
