"""The file of a grid: rows × shots × seeds × cards, and the keys each of them sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hierfit.config.named import HOME
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


def _keys(value: object, place: Place, problems: list[str]) -> Keys:
    return _groups_of_keys({"": value}, place, problems)[""]


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

    @property
    def rows(self) -> tuple[str, ...]:
        """Rows with a figure on any card."""
        return tuple(dict.fromkeys(row for rows in self.cards.values() for row in rows))


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
    set: Keys = field(default_factory=dict, metadata={"parse": _keys})
    control: str | None = None
    columns: str = "default"
    expected: GridExpectations | None = field(default=None, repr=False)

    @property
    def path(self) -> Path:
        """The file it was read from."""
        return self.source.file

    def faults(self) -> list[str]:
        """What is wrong with the axes and with what is expected of them; the keys of runs are another matter."""
        axes: dict[str, Sequence[object]] = {
            "cards": list(self.cards),
            "methods": list(self.methods),
            "seeds": self.seeds,
            "shots": self.shots,
        }
        faults = []
        for axis, values in axes.items():
            place = self.source.at(axis)
            faults += [] if values else [f"{place}: is empty, the grid has no cells"]
            twice = [value for value, count in Counter(values).items() if count > 1]
            faults += [f"{place}: {'null' if v is None else repr(v)} is given twice" for v in twice]
        seeds, shots = self.source.at("seeds"), self.source.at("shots")
        faults += [f"{seeds}: {fault.partition(': ')[2]}" for s in self.seeds if (fault := seed_problem("seeds", s))]
        faults += [f"{shots}: {n}, must be at least 1" for n in self.shots if n is not None and n < 1]
        if self.control is not None and self.control not in self.methods:
            near = nearest(self.control, self.methods)
            faults.append(f"{self.source.at('control')}: there is no row {self.control!r}{near}")
        return [*faults, *(self._expected_faults(self.expected) if self.expected else ())]

    def _expected_faults(self, expected: GridExpectations) -> Iterator[str]:
        place = self.source.at("expected")

        def unknown(names: Iterable[object], known: Iterable[object], where: Place, what: str) -> Iterator[str]:
            known = list(known)
            for name in names:
                if name not in known:
                    yield f"{where}: the grid has no {what} {name!r}{nearest(str(name), map(str, known))}"

        yield from unknown(expected.seeds, self.seeds, place.at("seeds"), "seed")
        yield from unknown(expected.cards, self.cards, place.at("cards"), "card")
        for card, rows in expected.cards.items():
            yield from unknown(rows, self.methods, place.at("cards").at(card), "row")
        if expected.shots is not None or len(self.shots) > 1:
            yield from unknown([expected.shots], self.shots, place.at("shots"), "number of shots")

    def config_paths(self, problems: list[str]) -> list[Path]:
        """The configuration files: sought here, then from the grid file's folder upwards, then among hierfit's own."""
        found = []
        for config in self.configs:
            folders = [Path(), *self.path.absolute().parents, HOME]
            path = next((folder / config for folder in folders if (folder / config).is_file()), None)
            if path is None:
                problems.append(f"{self.source.at('configs')}: there is no file {config}, here or above {self.path}")
            else:
                found.append(path)
        return found


def read_grid(path: Path) -> GridFile:
    """Reads the file of a grid.

    Raises:
        UserError: Everything that is wrong with its form: unknown or missing keys, wrong types. What its axes and the
            keys of its runs mean is checked later, see `hierfit.search.plan`.
    """
    return read_document(GridFile, path, "this grid cannot be run")
