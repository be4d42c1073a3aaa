"""The file of a grid: rows × shots × seeds × cards, and the keys each of them sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hierfit.config.option import seed_problem
from hierfit.config.schema import Place, nearest, read_document
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


def _as_written(value: object, place: Place, problems: list[str]) -> Keys | None:
    if not isinstance(value, Mapping):
        problems.append(f"{place}: expected keys and values, got {value!r}")
        return None
    return value


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
        expected: For ``hierfit reproduce`` alone, see `hierfit.search.grid_expected`.
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
    expected: Keys | None = field(default=None, metadata={"parse": _as_written}, repr=False)

    def __post_init__(self) -> None:
        problems = []
        axes: dict[str, Sequence[object]] = {
            "cards": list(self.cards),
            "methods": list(self.methods),
            "seeds": self.seeds,
            "shots": self.shots,
        }
        for axis, values in axes.items():
            if not values:
                problems.append(f"{axis}: is empty, the grid has no cells")
            problems += [f"{axis}: {_shown(v)} is given twice" for v, count in Counter(values).items() if count > 1]
        problems += [problem for seed in self.seeds if (problem := seed_problem("seeds", seed))]
        problems += [f"shots: {shots}, must be at least 1" for shots in self.shots if shots is not None and shots < 1]
        if self.control is not None and self.control not in self.methods:
            problems.append(f"control: there is no row {self.control!r}{nearest(self.control, self.methods)}")
        if problems:
            raise UserError(f"{self.path}: this grid cannot be run", problems)

    @property
    def path(self) -> Path:
        """The file it was read from."""
        return self.source.file

    def config_paths(self, problems: list[str]) -> list[Path]:
        """The configuration files: sought from the working folder, then from the grid file's folder upwards."""
        found = []
        for config in self.configs:
            folders = [Path(), *self.path.absolute().parents]
            path = next((folder / config for folder in folders if (folder / config).is_file()), None)
            if path is None:
                problems.append(f"{self.source.at('configs')}: there is no file {config}, here or above {self.path}")
            else:
                found.append(path)
        return found


def read_grid(path: Path) -> GridFile:
    """Reads the file of a grid.

    Raises:
        UserError: Everything that is wrong with its form: unknown or missing keys, wrong types, empty axes, names or
            numbers given twice. What the keys of its runs mean is checked later, see `hierfit.search.plan`.
    """
    if not path.is_file():
        raise UserError(f"There is no file {path}.", hint="The grids of the repository are in experiments/grids.")
    return read_document(GridFile, path, "this grid cannot be run")


def _shown(value: object) -> str:
    return "null" if value is None else repr(value)
